"""The tables and the figure of `classify`: test accuracies by method and data set."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.classify import figures
from experiments.classify.pretraining import DENSE, NO_PRETRAINING
from experiments.datasets.catalog import DATASETS
from experiments.front.rows import NAMES
from experiments.reporting import significance, tables
from experiments.running import comparison, files, run_directory
from experiments.running.cli import printable, show
from experiments.running.run_directory import write_text

PUBLISHED = Path(__file__).with_name("published_accuracy.csv")
KEPT = ", zeros kept"
_COLUMNS = ("dataset", "method", "seed", "repeat", "density", "cost", "seconds", "test_accuracy")

Accuracies = Mapping[str, Mapping[str, Mapping[tuple[int, int], float]]]
"""Test accuracy by method, by data set and by seed and repeat."""


class Result(NamedTuple):
    """The results of a method on a data set with a seed; one accuracy per repeat."""

    dataset: str
    method: str
    seed: int
    density: float
    cost: float
    seconds: float
    accuracies: tuple[float, ...]


def read_all(directory: Path) -> list[Result]:
    """Read all results in a directory, sorted by seed; InputError if one is damaged."""
    records = []
    for path in sorted(directory.glob("*/summary.json")):
        try:
            records += _read(run_directory.read_summary(path.parent))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            raise comparison.damaged_run(path) from None
    return sorted(records, key=lambda result: result.seed)


def _read(summary: dict[str, Any]) -> list[Result]:
    dataset, seed = summary["dataset"], summary["seed"]
    cost, seconds = summary["cost"], summary["seconds"]
    if dataset not in DATASETS or seconds is None:
        raise ValueError
    records, is_share = [], files.within(0, 1)
    for row in summary["rows"]:
        name, density = row["name"], row["density"]
        for title, values in ((name + KEPT, row["kept"]), (name, row["free"])):
            if values is not None:
                costs = float(density), float(cost), float(seconds)
                repeats = tuple(map(float, values))
                if not (repeats and type(name) is str and all(map(is_share, (density, *values)))):
                    raise ValueError
                records.append(Result(dataset, title, seed, *costs, repeats))
    return records


def published() -> dict[str, dict[str, float]]:
    """Published test accuracies by method and data set; mnist5k gets those of mnist."""
    by_method: dict[str, dict[str, float]] = {}
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            method = row.pop("method")
            by_method[method] = {name: float(value) for name, value in row.items()}
            by_method[method]["mnist5k"] = by_method[method]["mnist"]
    return by_method


def write_tables(directory: Path) -> None:
    """Write `classify.csv`, `classify.md` and `classify.png`, and print the accuracies."""
    results = sorted(read_all(directory), key=lambda result: _sort_key(result.method))
    accuracies: dict[str, dict[str, dict[tuple[int, int], float]]] = defaultdict(dict)
    density: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        values = {(result.seed, repeat): value for repeat, value in enumerate(result.accuracies)}
        accuracies[result.method].setdefault(result.dataset, {}).update(values)
        density[result.method][result.dataset].append(result.density)
    columns = [name for name in DATASETS if any(result.dataset == name for result in results)]
    short = [name.replace("mnist_", "").replace("background", "bg") for name in columns]
    short = [name.replace("_", " ") for name in short]
    accuracy = [
        [method, *(_mean(accuracies[method].get(name)) for name in columns)]
        for method in accuracies
    ]
    for method, values in published().items():
        if method in accuracies:
            shown = (f"{values[name]:.1%}"[:-1] if name in values else "-" for name in columns)
            accuracy.append([f"{method}, published", *shown])
    views = [(["test accuracy, %", *short], accuracy)]
    if NO_PRETRAINING in accuracies:
        rows = [
            [method, *(_difference(accuracies, method, name) for name in columns)]
            for method in accuracies
            if method != NO_PRETRAINING
        ]
        views.append(([f"difference from {NO_PRETRAINING}, points", *short], rows))
    rows = [
        [method, *(_density(density[method].get(name)) for name in columns)]
        for method in accuracies
        if method.endswith(KEPT)
    ]
    if rows:
        views.append((["density", *short], rows))
    write_text(directory / "classify.csv", _csv(results))
    seeds = len({result.seed for result in results})
    over = f"{seeds} seeds" if seeds > 1 else "the classifiers on each encoder of one seed"
    note = f"Mean ± standard deviation over {over}; *: significant at the 5 % level.\n"
    texts = [tables.markdown("", *view) for view in views]
    write_text(directory / "classify.md", "\n".join([*texts, note]))
    means = {
        method: {name: float(np.mean([*values.values()])) for name, values in by_name.items()}
        for method, by_name in accuracies.items()
    }
    deviations = {
        method: {
            name: float(np.std([*_averaged(values).values()], ddof=1))
            for name, values in by_name.items()
            if len(_averaged(values)) > 1
        }
        for method, by_name in accuracies.items()
    }
    path = directory / "classify.png"
    figures.accuracies(path, means, published(), columns, NO_PRETRAINING, deviations)
    view = tables.View("", *views[0])
    show(view, f"written to {printable(directory)}, differences and densities in classify.md")


def _sort_key(method: str) -> tuple[int, bool]:
    """Sort methods as published, then the others, with zeros kept first."""
    stem = method.removesuffix(KEPT)
    order = ("GEMONN", NO_PRETRAINING, *DENSE, *NAMES.values())
    return order.index(stem) if stem in order else len(order), stem == method


def _mean(values: Mapping[tuple[int, int], float] | None) -> str:
    """Mean and standard deviation over the seeds or, if there is only one, over the repeats."""
    if not values:
        return "-"
    ours = 100 * np.array([*_averaged(values).values()])
    return f"{ours.mean():.1f}" + (f" ± {ours.std(ddof=1):.1f}" if len(ours) > 1 else "")


def _difference(accuracies: Accuracies, method: str, name: str) -> str:
    """The mean difference and its interval in points, starred if significant."""
    ours, others = (_averaged(accuracies[one].get(name, {})) for one in (method, NO_PRETRAINING))
    compared = significance.difference(ours, others)
    if compared is None:
        return "-"
    star = "*" if compared.significant else ""
    mean, low, high = (f"{100 * value:+.1f}" for value in compared[1:4])
    return f"{mean} ({low} to {high}){star}"


def _averaged(values: Mapping[tuple[int, int], float]) -> dict[int, float]:
    """The mean of each seed or, if there is only one seed, the value of each repeat."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for (seed, _), value in values.items():
        by_seed[seed].append(value)
    if len(by_seed) > 1:
        return {seed: float(np.mean(ours)) for seed, ours in by_seed.items()}
    return {repeat: value for (_, repeat), value in values.items()}


def _density(values: Sequence[float] | None) -> str:
    return "-" if not values else f"{np.mean(values):.3f}"


def _csv(results: Iterable[Result]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in results:
        common = result.dataset, result.method, result.seed
        costs = result.density, result.cost, result.seconds
        for repeat, accuracy in enumerate(result.accuracies):
            writer.writerow([*common, repeat, *costs, accuracy])
    return file.getvalue()
