"""The command line of an experiment, which runs a training or a command."""

import functools
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from experiments.running import (
    agreement,
    cache,
    distributed,
    process,
    resuming,
    run_directory,
    seeds,
    signals,
)
from experiments.running.cli import split_command
from experiments.running.parsing import parse

if TYPE_CHECKING:
    from experiments.running.runs import Training


class Program(NamedTuple):
    """An experiment, described without slow imports.

    Attributes:
      name: of the module below `experiments`, and of run directories.
      description: first paragraph of the help.
      presets: configs by name, the default first.
      check: `check(config)` completes the config; InputError if it is invalid.
      load_data: `load_data(config)`, its data set; InputError if it does not fit.
      training: imports and returns the training.
      commands: functions of the remaining arguments, by name.
    """

    name: str
    description: str | None
    presets: dict[str, Any]
    check: Callable[[Any], Any]
    load_data: Callable[[Any], Any]
    training: "Callable[[], Training]"
    commands: Mapping[str, Callable[[list[str]], None]]


def start(program: Program) -> NoReturn:
    """Run the command line of this process and exit."""
    cache.enable_compilation_cache()
    process.run(partial(main, program), program.name, around=distributed.exit_status)


def train(program: Program, config: Any, **options: Any) -> Any:
    """Train without a run directory; the options are those of `Training.train`."""
    return program.training().train(config, **options)


def main(program: Program, arguments: list[str]) -> None:
    """Run a training or a command."""
    command, rest = split_command(arguments, tuple(program.commands))
    if command:
        return program.commands[command](rest)
    module = f"python -m experiments.{program.name}"
    config = program.check(
        parse(
            type(next(iter(program.presets.values()))),
            rest,
            presets=program.presets,
            program=module,
            description=program.description or "",
            commands={name: _summary(run) for name, run in program.commands.items()},
        )
    )
    with distributed.together(config, program.name) as hosts:
        dataset = program.load_data(config)
        if config.dry_run:
            from experiments.running import dry_run  # late: it imports JAX

            run_directory.require_empty(config.out)
            rows = {config.method: seeds.per_seed(config)}
            return dry_run.describe(config, rows, dataset, program.training(), together=True)
        if config.distributed:
            with signals.ending(program.name, hosts.fail):  # it imports JAX
                facts = agreement.facts(config, dataset[2:], program.name)
            agreement.require_same(hosts, facts)
            distributed.connect(hosts, config)
        if hosts.reports and not config.resume:
            run_directory.require_empty(config.out)  # before anything slow is imported
        with signals.ending(program.name, hosts.fail):
            from experiments.running import runs  # late: it imports JAX

            training = program.training()
        opened = run_directory.open_run(config.out, config.resume, program.name, hosts)
        with opened as directory:
            words = ["--resume", str(directory), *distributed.arguments(config)]
            advice = f"resume with: {module} {shlex.join(words)}"
            leave = partial(resuming.leave, advice, directory, hosts.reports)
            hosts.leave = functools.cache(leave)  # it says the same to all who ask
            with resuming.advice_on_interruption(hosts.leave):
                config = config if hosts.reports else replace(config, quiet=True)
                runs.run_seeds(training, config, dataset, directory, hosts)


def _summary(command: Callable[[list[str]], None]) -> str:
    """The first line of the docstring of a command's module."""
    return (sys.modules[command.__module__].__doc__ or "").split("\n")[0]
