"""Train by several methods and seeds under one config, and put them into one table."""

import json
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from typing import Literal

from rich.console import Console

from experiments import comparison, run_directory
from experiments.cli import parse
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
    """A config for all rows; `methods` and `seeds` stand in for its `method` and `seed`."""

    methods: tuple[Literal["ga", "layerwise", "pretrained", "sgd", "pca"], ...] = (
        "ga",
        "layerwise",
        "pretrained",
        "sgd",
        "pca",
    )
    """rows of the table"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """independent runs of each row; pca needs only the first"""


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
    common = Config(**{field.name: getattr(given, field.name) for field in fields(Config)})
    configs = [
        check(replace(common, method=method, seed=seed, out=None, config=None))
        for method in given.methods
        for seed in (given.seeds[:1] if method == "pca" else given.seeds)
    ]
    dataset = load(common.dataset, common.data_dir)
    check_against(configs[0], dataset)
    directory = given.out or run_directory.new_directory(None, "mnist_ga-compare")

    from experiments import methods, training  # late, as in `mnist_ga.train`

    for config in configs:
        place = directory / f"{config.method}-{config.seed}"
        if not comparison.is_done(config, place):
            run_directory.make_directory(place)
            training.run(config, dataset, place)
    summaries = sorted(
        (json.loads(path.read_text()) for path in directory.glob("*/summary.json")),
        key=lambda summary: (list(methods.METHODS).index(summary["method"]), summary["seed"]),
    )
    groups = {method: list(group) for method, group in groupby(summaries, itemgetter("method"))}
    table = comparison.tables(groups, MEASURES, directory)
    Console().print(table, f"written to {directory}", sep="\n")
