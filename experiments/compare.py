"""Train by several methods and seeds under one config, and put them into one table."""

import csv
import io
import json
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from experiments import report
from experiments.cli import InputError, load_config, parse
from experiments.datasets import load
from experiments.methods import METHODS
from experiments.mnist_ga import PRESETS, Config, check, check_against, run

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
    directory = given.out or report.new_directory(None, "mnist_ga-compare")
    for config in configs:
        place = directory / f"{config.method}-{config.seed}"
        if not _is_done(config, place):
            report.make_directory(place)
            run(config, dataset, place)
    summaries = sorted(
        (json.loads(path.read_text()) for path in directory.glob("*/summary.json")),
        key=lambda summary: (list(METHODS).index(summary["method"]), summary["seed"]),
    )
    rows = [_row(method, list(group)) for method, group in groupby(summaries, itemgetter("method"))]
    report.write_text(directory / "compare.csv", _csv(summaries))
    report.write_text(directory / "compare.md", _markdown(rows))
    table = Table("method", "seeds", *(title for title, _ in MEASURES.values()))
    for row in rows:
        table.add_row(*row)
    Console().print(table, f"written to {directory}", sep="\n")


def _is_done(config: Config, place: Path) -> bool:
    """Whether the run is there; InputError where it is there with another config."""
    if not (place / "summary.json").is_file():
        return False
    if replace(load_config(Config, place / "config.json", config), quiet=config.quiet) != config:
        raise InputError(f"--out must not hold runs of other settings, as {place} is one")
    return True


def _row(method: str, summaries: list[dict[str, Any]]) -> list[str]:
    """Mean over the seeds, and the standard deviation where there are several."""
    cells = [method, str(len(summaries))]
    for name, (_, style) in MEASURES.items():
        values = [summary[name] for summary in summaries]
        cell = style.format(mean(values))
        if len(values) > 1 and stdev(values) > 0:
            cell += " ± " + style.format(stdev(values))
        cells.append(cell)
    return cells


def _csv(summaries: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    columns = ["method", "seed", *MEASURES]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(summaries)
    return file.getvalue()


def _markdown(rows: list[list[str]]) -> str:
    titles = ["method", "seeds", *(title for title, _ in MEASURES.values())]
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
