"""Evolve a front of networks from sparse to accurate by GEMONN (Yang et al., IEEE TNNLS 33(9))."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.datasets.catalog import Dataset, load
from experiments.front.config import PRESETS, Config, check, check_against
from experiments.running import cache, devices, resuming, run_directory, seeds
from experiments.running.cli import parse, run_main, split_command

if TYPE_CHECKING:
    from experiments.front.training import Results

COMMANDS = {
    "export": "experiments.front.export",
    "compare": "experiments.front.compare",
    "classify": "experiments.classify.command",
}


def train(config: Config, **options: Any) -> "Results":
    """Evolve as `experiments.front_training.train` does, whose options these are."""
    from experiments.front import (
        training as front_training,  # takes seconds: no help, no mistake shall wait for it
    )

    return front_training.train(config, **options)


def main(arguments: list[str]) -> None:
    """Run the command line: an evolution, or the command `export`, `compare` or `classify`."""
    command, rest = split_command(arguments, tuple(COMMANDS))
    if command:
        import_module(COMMANDS[command]).main(rest)
        return
    config = parse(
        Config,
        rest,
        presets=PRESETS,
        program="python -m experiments.gemonn",
        description=__doc__ or "",
    )
    config = check(config)
    with devices.connected(config, "gemonn") as reports:
        dataset = load(config.dataset, config.data_dir)
        check_against(config, dataset)
        if config.dry_run:
            return _foretell(config, dataset)
        with run_directory.opened(config.out, config.resume, "gemonn", reports) as directory:
            advice = f"go on with: python -m experiments.gemonn --resume {directory}"
            with resuming.advising(advice) if reports else nullcontext():
                _run(config if reports else replace(config, quiet=True), dataset, directory)


def _foretell(config: Config, dataset: Dataset) -> None:
    from experiments.front import training as front_training
    from experiments.running import dry_run  # late, as in `train`

    run_directory.require_free(config.out)
    rows = {config.method: seeds.each(config)}
    dry_run.tell(config, rows, dataset, front_training, together=True)


def _run(config: Config, dataset: Dataset, directory: Path) -> None:
    from experiments.front import compare as front_compare  # late, as in `train`
    from experiments.front import report as front_report
    from experiments.front import training as front_training

    seeds.run(config, dataset, directory, front_training, front_report.table, front_compare.table)


if __name__ == "__main__":
    cache.keep_compilations()
    raise SystemExit(run_main(main, "gemonn"))
