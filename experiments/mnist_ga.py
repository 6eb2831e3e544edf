"""Evolve a tied autoencoder layer by layer and judge its features by an SVM (arXiv 1711.07655)."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.autoencoder.config import PRESETS, Config, check, check_against
from experiments.datasets.catalog import Dataset, load
from experiments.running import cache, devices, resuming, run_directory, seeds
from experiments.running.cli import parse, run_main, split_command

if TYPE_CHECKING:
    from experiments.autoencoder.training import Results


def train(config: Config, **options: Any) -> "Results":
    """Train as `experiments.training.train` does, whose options these are."""
    from experiments.autoencoder import (
        training,  # takes seconds, for which no help and no mistake shall wait
    )

    return training.train(config, **options)


def main(arguments: list[str]) -> None:
    """Run the command line: a training, or one of the commands `predict` and `compare`."""
    command, rest = split_command(arguments, ("predict", "compare"))
    if command:
        import_module(f"experiments.autoencoder.{command}").main(rest)
        return
    config = parse(
        Config,
        rest,
        presets=PRESETS,
        program="python -m experiments.mnist_ga",
        description=__doc__ or "",
    )
    config = check(config)
    with devices.connected(config, "mnist_ga") as reports:
        dataset = load(config.dataset, config.data_dir)
        check_against(config, dataset)
        if config.dry_run:
            return _foretell(config, dataset)
        with run_directory.opened(config.out, config.resume, "mnist_ga", reports) as directory:
            advice = f"go on with: python -m experiments.mnist_ga --resume {directory}"
            with resuming.advising(advice) if reports else nullcontext():
                _run(config if reports else replace(config, quiet=True), dataset, directory)


def _foretell(config: Config, dataset: Dataset) -> None:
    from experiments.autoencoder import training
    from experiments.running import dry_run  # late, as in `train`

    run_directory.require_free(config.out)
    rows = {config.method: seeds.each(config)}
    dry_run.tell(config, rows, dataset, training, together=True)


def _run(config: Config, dataset: Dataset, directory: Path) -> None:
    from experiments.autoencoder import (
        compare,  # late, as in `train`
        report,
        training,
    )

    seeds.run(config, dataset, directory, training, report.table, compare.table)


if __name__ == "__main__":
    cache.keep_compilations()
    raise SystemExit(run_main(main, "mnist_ga"))
