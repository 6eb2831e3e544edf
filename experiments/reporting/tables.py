"""Tables of runs: means over seeds, and the results of one run."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from experiments.reporting import significance
from experiments.running.cli import printable, show
from experiments.running.run_directory import write_text

Measures = Mapping[str, tuple[str, str]]
"""Maps a name in summaries to its column title and the format of its values."""


def write_tables(
    sections: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    measures: Measures,
    directory: Path,
) -> list[Table]:
    """Write `compare.csv`, a row per summary, and `compare.md`, a row per group.

    Returns the tables of `compare.md` for printing: means over the seeds, with standard deviations
    if there are several. Missing values are skipped. `sections` maps titles to the groups of a
    table; sections may share groups. If groups of a section have seeds in common, a second table
    shows the significance of their differences from the first group in the first measure.
    """
    file = io.StringIO()
    columns = ["method", "seed", *measures]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = []
    (measure, (title, style)), *_ = measures.items()
    written = set()
    for heading, groups in sections.items():
        for name in [name for name in groups if name not in written]:
            writer.writerows({**summary, "method": name} for summary in groups[name])
        written |= {*groups}
        titles = ["method", "seeds", *(title for title, _ in measures.values())]
        rows = [_row(name, summaries, measures) for name, summaries in groups.items()]
        tables.append((heading, titles, rows))
        if differing := significance.rows(groups, measure, style):
            against = f"{title}, difference from {next(iter(groups))}"
            names = ["method", "pairs", against, "95 % interval", "Wilcoxon's p", "significant"]
            tables.append(("", names, differing))
    write_text(directory / "compare.csv", file.getvalue())
    write_text(directory / "compare.md", "\n".join(markdown(*table) for table in tables))
    return [view(*table) for table in tables]


def markdown(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, with a heading if there is one."""
    lines = [titles, ["---"] * len(titles), *rows]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return f"## {heading}\n\n{table}" if heading else table


def view(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for printing; a single row is printed as one line per column."""
    title = heading or None
    table = Table(*titles, title=title) if len(rows) > 1 else Table(show_header=False, title=title)
    for row in rows if len(rows) > 1 else zip(titles, *rows, strict=True):
        table.add_row(*row)
    for column in table.columns:
        column.overflow = "fold"  # wrap numbers instead of truncating them
    return table


def show_outcome(
    title: str, lines: Mapping[str, str], summary: Mapping[str, Any], directory: Path
) -> None:
    """Print the results of one run, its costs and its directory."""
    table = Table(title=title, show_header=False)
    costs = {
        "cost": f"{summary['cost']:,.0f} gradient examples",
        "sequential steps": f"{summary['sequential_steps']:,}",
        "time": f"{summary['seconds']:.0f} s",
        "written to": printable(directory),
    }
    for name, value in {**lines, **costs}.items():
        table.add_row(name, value)
    show(table)


def _row(name: str, summaries: Sequence[Mapping[str, Any]], measures: Measures) -> list[str]:
    cells = [name, str(len(summaries))]
    for measure, (_, style) in measures.items():
        values = [summary[measure] for summary in summaries if summary.get(measure) is not None]
        cell = style.format(np.mean(values)) if values else "-"
        # Infinite losses have no standard deviation.
        if len(values) > 1 and np.isfinite(values).all() and np.ptp(values) > 0:
            cell += " ± " + style.format(np.std(values, ddof=1))
        cells.append(cell)
    return cells
