"""Benchmark training and evolution against lower bounds on their time and other libraries."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from experiments.running.cli import require, require_at_least
from experiments.running.parsing import parse

if TYPE_CHECKING:
    from experiments.benchmark.measure import Row

Number = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]
Name = Literal[
    "products",
    "training",
    "scoring",
    "gemonn",
    "sorting",
    "ga",
    "growth",
    "saving",
    "compiling",
    "estimators",
    "fronts",
]
COLUMNS = ("row", "measurement", "size", "ms", "floor, ms", "share", "rivals, notes")


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    only: tuple[Literal[Number, Name], ...] = ()
    """rows to measure, by number or name; by default all"""
    repeats: int | None = None
    """number of measurements, of which the table has the median; by default 5, or 1 with --quick"""
    quick: bool = False
    """use small sizes, for a test in about a minute"""
    markdown: bool = False
    """print a table in Markdown"""
    out: Path = Path("benchmark.json")
    """JSON file for the results"""


def rows(config: Config) -> Iterator[Row]:
    """Measure the requested parts in order."""
    from experiments.benchmark import (
        compiling,
        evolution,
        fits,
        fronts,
        growth,
        saving,
        sorting,
        training,
    )
    from experiments.benchmark.measure import QUICK, Sizes
    from experiments.running.progress import Progress

    functions = (
        training.matrix_products,
        training.fine_tuning,
        training.scoring,
        evolution.gemonn,
        sorting.non_dominated_sorting,
        evolution.genetic,
        growth.scaling,
        saving.checkpoints_of_experiments,
        compiling.first_generations,
        fits.estimators,
        fronts.fronts,
    )
    names = get_args(Name)
    asked = {(get_args(Number) + names).index(word) % len(names) for word in config.only or names}
    sizes = QUICK if config.quick else Sizes()
    repeats = config.repeats or (1 if config.quick else 5)
    with Progress() as progress:
        for part in sorted(asked):
            with progress.status(f"measuring row {part + 1}, {names[part]}"):
                yield from functions[part](sizes, repeats)


def cells(row: Row) -> tuple[str, ...]:
    """Format the row, one cell per column; the last one has a line per rival."""
    floor = row.floor_seconds
    remarks = [
        f"{rival} {_milliseconds(seconds)} ms, x {seconds / row.seconds:.2f}"
        for rival, seconds in row.rivals.items()
    ]
    if row.peak_bytes is not None:
        remarks.append(f"peak {row.peak_bytes / 1e6:,.1f} MB")
    return (
        str(row.row),
        row.name,
        row.size,
        _milliseconds(row.seconds),
        "" if floor is None else _milliseconds(floor),
        "" if floor is None else f"{floor / row.seconds:.0%}",
        "\n".join([*remarks, row.note] if row.note else remarks),
    )


def _milliseconds(seconds: float) -> str:
    """Format with at least three significant digits, without an exponent."""
    decimals = max(0, 2 - math.floor(math.log10(1e3 * seconds)))
    return f"{1e3 * seconds:,.{decimals}f}"


def markdown(measured: Iterable[Row]) -> str:
    """Format the rows as a Markdown table."""
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [[cell.replace("\n", "; ") for cell in cells(row)] for row in measured]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(measured: Iterable[Row], title: str) -> None:
    """Print the rows as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("ms", "floor, ms") else "left")
    for row in measured:
        table.add_row(*cells(row))
    Console().print(table)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    config = parse(
        Config,
        arguments,
        presets={"default": Config()},
        program="python -m experiments.benchmark",
        description=__doc__ or "",
    )
    require_at_least(config, {"repeats": 1})
    writable = config.out.parent.is_dir() and not config.out.is_dir()
    require(writable, "--out", config.out, "a file in an existing directory")

    import jax

    from experiments.benchmark.measure import device
    from experiments.running.run_directory import write_text

    measured, records = [], []
    for row in rows(config):  # save each row, because later ones may fail or be interrupted
        measured.append(row)
        records.append(row._asdict() | {"device": device()})
        write_text(config.out, json.dumps(records, indent=2) + "\n")
    title = f"{device()}, jax {jax.__version__}"
    if config.markdown:
        print(f"{title}\n\n{markdown(measured)}")
    else:
        show(measured, title)
