"""Table and figures of a comparison of fronts."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from experiments.front import figures, report
from experiments.front.config import Config
from experiments.front.measures import log_hypervolume
from experiments.front.methods import METHODS
from experiments.front.rows import OF_DESCENT, ROWS, SUMMARY, Row
from experiments.reporting.tables import write_tables
from experiments.running import comparison, files
from experiments.running.cli import printable, show

DENSITIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MEASURES = {
    "log_hypervolume": ("log hypervolume", "{:.3f}"),
    **{f"loss_at_{share}": (f"loss at {share}", "{:.4f}") for share in DENSITIES},
    "best_loss": ("lowest loss", "{:.4f}"),
    "best_test_loss": ("its test loss", "{:.4f}"),
    "cost": ("cost", "{:.3g}"),
    "sequential_steps": ("sequential steps", "{:,.0f}"),
    "seconds": ("seconds", "{:.0f}"),
    "tuning_cost": ("cost of tuning", "{:.3g}"),
}
_COMMON = ("cost", "sequential_steps", "seconds")
Record = dict[str, Any]
"""Results of one method and seed for the table and the figures."""


def read_all(directory: Path) -> list[Record]:
    """Read the records of all runs in a directory; InputError if one is damaged."""
    records = []
    for summary in comparison.summaries(directory, METHODS, SUMMARY):
        try:
            records += _read(summary)
        except (OSError, ValueError, KeyError, TypeError):
            raise comparison.damaged_run(summary["directory"] / "metrics.csv") from None
    return records


def table(directory: Path) -> dict[str, list[Record]]:
    """Write and print the means over seeds of each method in the directory.

    Returns the records of each row.
    """
    records = read_all(directory)
    records.sort(key=itemgetter("order", "seed"))
    groups = {name: list(group) for name, group in groupby(records, itemgetter("method"))}
    views = write_tables({"": groups}, MEASURES, directory)
    show(*views, f"written to {printable(directory)}")
    return groups


def _read(summary: dict[str, Any]) -> list[Record]:
    """One record for a run, or one for each of its individuals if these have names."""
    directory, method, zero_loss = summary["directory"], summary["method"], summary["zero_loss"]
    names = summary.get("names") or []
    if zero_loss is None:
        raise ValueError
    titles = [f"loss of {name}" for name in names] or ["best_loss"]
    progress = "sequential_steps", "cost", "log_hypervolume"
    ranges = {"log_hypervolume": files.Range(0, 1.001)}
    ranges |= {name: files.Range(0) for name in ("sequential_steps", "cost")}
    ranges |= {title: files.Range(0, is_finite=False) for title in titles}
    columns = files.read_columns(directory / "metrics.csv", ranges)
    costs = columns["cost"]
    common = {name: summary[name] for name in ("directory", "seed", *_COMMON)}
    row = ROWS.get(directory.name.rpartition("-")[0], Row(method))
    if row.method != method:
        raise ValueError
    common |= {"order": 100 * list(ROWS).index(row.name), "zero_loss": zero_loss}
    if row.is_tuned:
        common["tuning_cost"] = comparison.tuning_cost(directory.parent, row.name)
    if not names:
        front = report.load_front(directory / "front.csv")
        record = _record(common, row.title, front, (costs, columns["best_loss"]))
        return [{**record, "progress": tuple(columns[name] for name in progress)}]
    population = report.load_population(directory / "population.csv")
    records = []
    for index, (name, title) in enumerate(zip(names, titles, strict=True)):
        front = population.cut(index + 1, index)
        record = {**common, "order": common["order"] + OF_DESCENT.index(name)}
        records.append(_record(record, name, front, (costs, columns[title])))
    return records


def _record(
    common: Record, name: str, front: Any, decline: tuple[np.ndarray, np.ndarray]
) -> Record:
    best = int(np.argmin(front.train_loss))
    at = {}
    for share in DENSITIES:
        allowed = front.train_loss[front.density <= share]
        at[f"loss_at_{share}"] = float(allowed.min()) if allowed.size else None
    score = log_hypervolume(front.density, front.train_loss, common["zero_loss"])
    return {
        **common,
        **at,
        "method": name,
        "log_hypervolume": score,
        "best_loss": float(front.train_loss[best]),
        "best_test_loss": float(front.test_loss[best]),
        "points": (front.density, front.train_loss),
        "decline": decline,
    }


def draw(config: Config, groups: dict[str, list[Record]], directory: Path) -> None:
    """Draw fronts and loss curves of the first seed of each method."""
    firsts = {name: records[0] for name, records in groups.items()}
    is_published = config.model == "autoencoder" and config.dataset in ("mnist5k", "mnist")
    loss = report.loss_name(config)
    title = "Loss against density by method"
    if is_published:
        title += f" on {config.dataset}; published ones on all 60,000 training images of MNIST"
    figures.fronts(
        directory / "fronts.png",
        {name: record["points"] for name, record in firsts.items()},
        loss_name=f"{loss} on training images",
        zero_loss=next(iter(firsts.values()))["zero_loss"],
        published=report.published() if is_published else None,
        title=title,
        scores={name: record["log_hypervolume"] for name, record in firsts.items()},
    )
    figures.decline(
        directory / "decline.png",
        {name: record["decline"] for name, record in firsts.items()},
        x_name="cost, in gradient examples",
        loss_name=f"{loss} of the best network on its batch",
    )
    of_fronts = {
        name: r["progress"] for name, r in firsts.items() if len(r.get("progress", [[]])[0])
    }
    if of_fronts:
        figures.progress(directory / "progress.png", of_fronts)
