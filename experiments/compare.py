"""Train by several methods and seeds under one config, and put them into one table."""

import csv
import io
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from experiments import report
from experiments.cli import InputError, load_config, parse
from experiments.datasets import load
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

    A run that `--out` already holds with the same config is not repeated, so a table can be made
    piece by piece.
    """
    given = parse(
        CompareConfig,
        arguments,
        presets={name: CompareConfig(**asdict(preset)) for name, preset in PRESETS.items()},
        program="python -m experiments.mnist_ga compare",
        description=__doc__ or "",
    )
    common = check(Config(**{field.name: getattr(given, field.name) for field in fields(Config)}))
    dataset = load(common.dataset, common.data_dir)
    check_against(common, dataset)
    directory = given.out or report.new_directory(None, "mnist_ga-compare")
    summaries: list[dict[str, Any]] = []
    for method in given.methods:
        for seed in given.seeds[:1] if method == "pca" else given.seeds:
            config = check(replace(common, method=method, seed=seed, out=None, config=None))
            place = directory / f"{method}-{seed}"
            if not _is_done(config, place):
                _make(place)
                run(config, dataset, place)
            summaries.append(json.loads((place / "summary.json").read_text()))
    rows = [_row(method, summaries) for method in given.methods]
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


def _make(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wanted = "a directory that can be written"
        raise InputError(f"--out must be {wanted}, not {place.parent} ({error.strerror})") from None


def _row(method: str, summaries: list[dict[str, Any]]) -> list[str]:
    """Mean over the seeds, and the standard deviation where there are several."""
    chosen = [summary for summary in summaries if summary["method"] == method]
    cells = [method, str(len(chosen))]
    for name, (_, style) in MEASURES.items():
        values = [summary[name] for summary in chosen]
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
