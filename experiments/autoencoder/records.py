"""Tables and figure of a comparison of autoencoders."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.autoencoder import figures, methods
from experiments.autoencoder.rows import (
    MEASURES,
    PUBLISHED,
    ROWS,
    SECTIONS,
    SUMMARY,
    TUNED,
    is_baseline,
    name_of,
    row_of,
)
from experiments.reporting.tables import write_tables
from experiments.running import comparison
from experiments.running.cli import printable, show


def read_all(directory: Path) -> list[dict[str, Any]]:
    """Read the summaries of all runs in a directory; InputError if one is damaged."""
    return comparison.summaries(directory, methods.METHODS, SUMMARY)


def table(directory: Path) -> None:
    """Write, draw and print the means over seeds of all runs in the directory."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for summary in read_all(directory):
        try:
            row = row_of(summary["method"], summary["activation"])
            budget = summary.get("equal", "steps")
            if row not in ROWS or budget not in SECTIONS:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise comparison.damaged_run(summary["directory"] / "summary.json") from None
        accuracy, rmse = PUBLISHED.get(row, (None, None))
        published = {"published_accuracy": accuracy, "published_rmse": rmse}
        is_tuned = summary["directory"].name.rpartition("-")[0].endswith(TUNED)
        name = name_of(row, budget, is_tuned=is_tuned)
        if is_tuned:
            published["tuning_cost"] = comparison.tuning_cost(directory, name)
        groups.setdefault(name, []).append({**summary, **published})
    for summaries in groups.values():
        summaries.sort(key=lambda summary: summary["seed"])
    sections = {}
    for budget, title in SECTIONS.items():
        names = _names([budget])
        present = {name: groups[name] for name in names if name in groups}
        if any(is_baseline(name) for name in present):
            sections[title] = present
    views = write_tables(sections or {"": groups}, MEASURES, directory)
    ordered = {name: groups[name] for name in _names(SECTIONS) if name in groups}
    figures.features(directory / "compare.png", ordered)
    show(*views, f"written to {printable(directory)}")


def _names(budgets: Iterable[str]) -> list[str]:
    """The names of all rows at these budgets, in the order of the table."""
    return [
        name_of(row, budget, is_tuned=is_tuned)
        for row in ROWS
        for budget in budgets
        for is_tuned in (False, True)
    ]
