"""Tables of runs: means over seeds, and the results of one run."""

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console, ConsoleOptions
from rich.table import Table

from experiments.reporting import significance
from experiments.running.cli import printable, show
from experiments.running.run_directory import write_text

Measures = Mapping[str, tuple[str, str]]
"""Maps a name in summaries to its column title and the format of its values."""

_FILE_WIDTH = 80
_BORDER, _BETWEEN = 1, 3
"""Characters of a printed table beside the columns, and beside each column."""


def write_tables(
    sections: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    measures: Measures,
    directory: Path,
) -> "list[View]":
    """Write `compare.csv`, a row per summary, and `compare.md`, a row per group.

    Returns the tables of `compare.md` for printing: means over the seeds, with standard deviations
    if there are several. Missing values are skipped, and a measure without any has no column in
    `compare.md`. `sections` maps titles to the groups of a table; sections may share groups. If
    groups of a section have seeds in common, a second table shows the significance of their
    differences from the first group in the first measure.
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
        every = [summary for summaries in groups.values() for summary in summaries]
        shown = {
            name: look
            for name, look in measures.items()
            if any(summary.get(name) is not None for summary in every)
        }
        titles = ["method", "seeds", *(title for title, _ in shown.values())]
        rows = [_row(name, summaries, shown) for name, summaries in groups.items()]
        tables.append((heading, titles, rows))
        if differing := significance.rows(groups, measure, style):
            against = f"{title}, difference from {next(iter(groups))}"
            names = ["method", "pairs", against, "95 % interval", "Wilcoxon's p", "significant"]
            tables.append(("", names, differing))
    write_text(directory / "compare.csv", file.getvalue())
    write_text(directory / "compare.md", "\n".join(markdown(*table) for table in tables))
    return [View(*table) for table in tables]


def markdown(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, with a heading if there is one."""
    lines = [titles, ["---"] * len(titles), *rows]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return f"## {heading}\n\n{table}" if heading else table


class View(NamedTuple):
    """A table for printing; a single row is printed as one line per column.

    Columns that do not fit the width go to further tables, which repeat the first column, so that
    neither numbers nor words are broken.
    """

    heading: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The tables in the width of the console."""
        heading = self.heading or None
        # A file or a pipe is mostly read in a terminal.
        room = options.max_width if console.is_terminal else min(options.max_width, _FILE_WIDTH)
        if len(self.rows) == 1:
            table = Table(show_header=False, title=heading)
            for row in zip(self.titles, *self.rows, strict=True):
                table.add_row(*row)
            yield table
            return
        columns = [*zip(self.titles, *self.rows, strict=True)]
        widths = [max(map(len, column)) for column in columns]
        if _BORDER + sum(width + _BETWEEN for width in widths) > room:
            widths = [_narrowest(*column) for column in columns]
        while len(columns) > 1:
            left, count = room - _BORDER - widths[0] - _BETWEEN, 1
            while count < len(columns) and (count == 1 or widths[count] + _BETWEEN <= left):
                left -= widths[count] + _BETWEEN
                count += 1
            yield _table(heading, columns[:count], widths)
            heading = None
            del columns[1:count], widths[1:count]


def _narrowest(title: str, *cells: str) -> int:
    """Width of a column that breaks no cell, and its title only between words."""
    return max(map(len, [*title.split(), *cells]))


def _table(heading: str | None, columns: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    """A table with these columns, each a title and cells."""
    table = Table(title=heading)
    for (title, *_), width in zip(columns, widths, strict=False):
        lines = textwrap.wrap(title, width, break_long_words=False, break_on_hyphens=False)
        table.add_column("\n".join(lines), overflow="fold")
    for row in [*zip(*columns, strict=True)][1:]:
        table.add_row(*row)
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
