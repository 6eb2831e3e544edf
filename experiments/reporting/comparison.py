"""What the comparisons of both experiments share: runs in one directory, and tables of them."""

import csv
import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from experiments.reporting import significance as paired
from experiments.running import devices, files, resuming, run_directory
from experiments.running.cli import ConfigType, InputError, load_config
from experiments.running.run_directory import write_text

Measures = Mapping[str, tuple[str, str]]
"""Name in a summary to its title in the table and the format of its values."""


@contextmanager
def opened(given: Any, name: str) -> Iterator[Path]:
    """The directory of a comparison, for this process alone; the config is that of its flags."""
    directory = given.out or run_directory.new_directory(None, name)
    run_directory.make_directory(directory)
    advice = f"go on with the same command and --out {directory}"
    with run_directory.locked(directory, "--out"), resuming.advising(advice):
        yield directory


def is_done(config: ConfigType, place: Path) -> bool:
    """Whether the run is there; InputError where it is there with another config."""
    if not run_directory.is_finished(place):
        return False
    saved = load_config(type(config), place / "config.json", type(config)())
    shown: Any = {
        name: getattr(config, name)
        for name in ("quiet", "plot", "checkpoint_every", *devices.FIELDS)
        if hasattr(config, name)
    }
    if replace(saved, **shown) != config:
        raise InputError(f"--out must not hold runs of other settings, as {place} is one")
    return True


def summaries(
    directory: Path, methods: Collection[str], measures: Iterable[str]
) -> list[dict[str, Any]]:
    """The summaries of all runs in a directory, with their `place` there.

    InputError where one is not that of such a method and a seed, or a measure in it is no number.
    """
    found = []
    for path in sorted(directory.glob("*/summary.json")):
        try:
            summary = files.read_json(path)
            is_one = summary["method"] in methods and type(summary["seed"]) is int
            known = [summary[name] for name in measures if summary.get(name) is not None]
            if not (is_one and all(type(value) in (int, float) for value in known)):
                raise ValueError
            found.append({**summary, "place": path.parent})
            math.fsum(known)  # refuses whole numbers that no float can hold
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            raise refused(path) from None
    return found


def refused(path: Path) -> InputError:
    """What to say of a file of a run that cannot be read."""
    return InputError(f"--out must hold nothing but sound runs, and {path} is not of one")


def tables(
    sections: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    measures: Measures,
    directory: Path,
) -> list[Table]:
    """Write `compare.csv`, a row for each summary, and `compare.md`, a row for each group.

    Returns the latter to print, a lone row of it upright: means over the seeds, and standard
    deviations where there are several. A value that is missing in a summary is left out. Sections
    are tables of groups by their titles, and may share groups. Where groups of a section have
    seeds in common, a table behind it says which differ from its first one in the first measure.
    """
    file = io.StringIO()
    columns = ["method", "seed", *measures]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    found: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = []
    (measure, (title, style)), *_ = measures.items()
    written = set()
    for heading, groups in sections.items():
        for name in [name for name in groups if name not in written]:
            writer.writerows({**summary, "method": name} for summary in groups[name])
        written |= {*groups}
        titles = ["method", "seeds", *(title for title, _ in measures.values())]
        rows = [_row(name, summaries, measures) for name, summaries in groups.items()]
        found.append((heading, titles, rows))
        if differing := paired.rows(groups, measure, style):
            against = f"{title}, less that of {next(iter(groups))}"
            names = ["method", "pairs", against, "95 % interval", "Wilcoxon's p", "holds"]
            found.append(("", names, differing))
    write_text(directory / "compare.csv", file.getvalue())
    write_text(directory / "compare.md", "\n".join(markdown(*table) for table in found))
    return [view(*table) for table in found]


def markdown(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, under its heading if it has one."""
    lines = [titles, ["---"] * len(titles), *rows]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return f"## {heading}\n\n{table}" if heading else table


def view(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table to print, a lone row of it upright."""
    title = heading or None
    table = Table(*titles, title=title) if len(rows) > 1 else Table(show_header=False, title=title)
    for row in rows if len(rows) > 1 else zip(titles, *rows, strict=True):
        table.add_row(*row)
    for column in table.columns:
        column.overflow = "fold"  # half a number is worse than one on two lines
    return table


def _row(name: str, summaries: Sequence[Mapping[str, Any]], measures: Measures) -> list[str]:
    cells = [name, str(len(summaries))]
    for measure, (_, style) in measures.items():
        values = [summary[measure] for summary in summaries if summary.get(measure) is not None]
        cell = style.format(np.mean(values)) if values else "-"
        # Of losses that are not finite there is no deviation.
        if len(values) > 1 and np.isfinite(values).all() and np.ptp(values) > 0:
            cell += " ± " + style.format(np.std(values, ddof=1))
        cells.append(cell)
    return cells
