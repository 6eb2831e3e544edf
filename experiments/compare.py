"""Train by several methods and seeds under one config, and put them into one table."""

from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from experiments import comparison, run_directory, seeds
from experiments.cli import parse, printable, require, show
from experiments.datasets import load
from experiments.mnist_ga import PRESETS, Config, check, check_against

MEASURES = {
    "test_accuracy": ("SVM accuracy", "{:.2%}"),
    "test_rmse": ("test RMSE", "{:.4f}"),
    "train_rmse": ("train RMSE", "{:.4f}"),
    "cost": ("cost", "{:.3g}"),
    "sequential_steps": ("sequential steps", "{:,.0f}"),
    "seconds": ("seconds", "{:.0f}"),
}


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config for all rows; `methods` stand in for its `method`."""

    methods: tuple[Literal["ga", "layerwise", "pretrained", "sgd", "pca"], ...] = (
        "ga",
        "layerwise",
        "pretrained",
        "sgd",
        "pca",
    )
    """rows of the table"""
    seeds: tuple[int, ...] | None = None
    """of each row: how many from --seed on, 3 where not given, or a list; pca has only the first"""


def main(arguments: list[str]) -> None:
    """Run the command line that follows the word `compare`.

    A run that `--out` already holds with the same config is not repeated, and the table has every
    run that is there, so it can be made piece by piece.
    """
    given = parse(
        CompareConfig,
        arguments,
        presets={name: CompareConfig(**asdict(preset)) for name, preset in PRESETS.items()},
        program="python -m experiments.mnist_ga compare",
        description=__doc__ or "",
    )
    require(given.resume is None, "--resume", given.resume, "left out: --out goes on by itself")
    require(len(given.methods) > 0, "--methods", "an empty list", "at least one")
    common = Config(**{field.name: getattr(given, field.name) for field in fields(Config)})
    common = replace(common, out=None, config=None, resume=None, seeds=None, dry_run=False)
    numbers = seeds.chosen((3,) if given.seeds is None else given.seeds, given.seed)
    configs = [
        check(replace(common, method=method, seed=seed))
        for method in given.methods
        for seed in (numbers[:1] if method == "pca" else numbers)
    ]
    dataset = load(common.dataset, common.data_dir)
    for config in configs:
        check_against(config, dataset)

    from experiments import dry_run, methods, training  # late, as in `mnist_ga.train`

    if given.dry_run:
        return dry_run.tell(given, configs, dataset, training, together=False)

    with comparison.opened(given, "mnist_ga-compare") as directory:
        comparison.summaries(directory, methods.METHODS, MEASURES)  # what is there must be sound
        for config in configs:
            place = directory / f"{config.method}-{config.seed}"
            if not comparison.is_done(config, place):
                run_directory.make_directory(place)
                training.run(config, dataset, place)
        table(directory)


def table(directory: Path) -> None:
    """Write and print the means over the seeds of each method that the directory has runs of."""
    from experiments import methods

    summaries = sorted(
        comparison.summaries(directory, methods.METHODS, MEASURES),
        key=lambda summary: (list(methods.METHODS).index(summary["method"]), summary["seed"]),
    )
    groups = {method: list(group) for method, group in groupby(summaries, itemgetter("method"))}
    views = comparison.tables(groups, MEASURES, directory)
    show(*views, f"written to {printable(directory)}")
