"""The command line of an experiment: a training, or one of its commands."""

import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from experiments.running import cache, devices, resuming, run_directory, seeds
from experiments.running.cli import run_main, split_command
from experiments.running.parsing import parse

if TYPE_CHECKING:
    from experiments.running.runs import Training


class Program(NamedTuple):
    """An experiment as its command line needs it, with nothing that takes long to import.

    Attributes:
      name: of the module below `experiments`, and of run directories.
      description: what the help says first.
      presets: configs by name, the default one first.
      check: `check(config)`, the config filled in; InputError where it is wrong.
      load_data: `load_data(config)`, its data set; InputError where it does not fit.
      training: imports what a training needs, and returns it.
      commands: each by its name takes the arguments that follow it.
    """

    name: str
    description: str | None
    presets: dict[str, Any]
    check: Callable[[Any], Any]
    load_data: Callable[[Any], Any]
    training: "Callable[[], Training]"
    commands: Mapping[str, Callable[[list[str]], None]]


def start(program: Program) -> NoReturn:
    """Run the command line of this process and end it."""
    cache.enable_compilation_cache()
    raise SystemExit(run_main(partial(main, program), program.name))


def train(program: Program, config: Any, **options: Any) -> Any:
    """The results of a training without a run directory; the options are those of its `train`."""
    return program.training().train(config, **options)


def main(program: Program, arguments: list[str]) -> None:
    """Run the command line: a training, or a command."""
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
            commands={name: _first_sentence(run) for name, run in program.commands.items()},
        )
    )
    with devices.connected(config, program.name) as reports:
        dataset = program.load_data(config)
        if config.dry_run:
            from experiments.running import dry_run  # late, for it imports JAX

            run_directory.require_empty(config.out)
            rows = {config.method: seeds.per_seed(config)}
            return dry_run.describe(config, rows, dataset, program.training(), together=True)
        opened = run_directory.open_run(config.out, config.resume, program.name, reports)
        with opened as directory:
            from experiments.running import runs  # late, for it imports JAX

            advice = f"go on with: {module} --resume {shlex.quote(str(directory))}"
            with resuming.advice_on_interruption(advice) if reports else nullcontext():
                config = config if reports else replace(config, quiet=True)
                runs.run_seeds(program.training(), config, dataset, directory)


def _first_sentence(command: Callable[[list[str]], None]) -> str:
    """What the module of a command says first."""
    return (sys.modules[command.__module__].__doc__ or "").split("\n")[0]
