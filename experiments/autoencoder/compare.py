"""Train by several methods and seeds under one config, and put them into tables and a figure."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from experiments.autoencoder.config import PRESETS, Config, check, check_against
from experiments.datasets.catalog import load
from experiments.reporting import comparison
from experiments.running import cache, run_directory, seeds
from experiments.running.cli import parse, printable, require, show

Row = Literal[
    "ga-tanh",
    "ga-relu",
    "layerwise-tanh",
    "layerwise-relu",
    "pretrained-tanh",
    "pretrained-relu",
    "sgd-tanh",
    "sgd-relu",
    "pca",
]
ROWS: tuple[Row, ...] = get_args(Row)

MEASURES = {
    "test_accuracy": ("SVM accuracy", "{:.2%}"),
    "published_accuracy": ("published", "{:.2%}"),
    "test_rmse": ("test RMSE", "{:.4f}"),
    "published_rmse": ("published", "{:.4f}"),
    "density": ("density", "{:.4f}"),
    "gradient_examples": ("gradient examples", "{:.3g}"),
    "cost": ("cost", "{:.3g}"),
    "sequential_steps": ("sequential steps", "{:,.0f}"),
    "seconds": ("seconds", "{:.0f}"),
}

PUBLISHED = {
    "ga-tanh": (0.9831, 0.0996),
    "ga-relu": (0.9565, 0.1098),
    "layerwise-tanh": (0.9784, 0.2926),
    "layerwise-relu": (0.9401, 0.3122),
    "sgd-tanh": (0.9811, 0.1315),
    "sgd-relu": (0.9348, 0.3268),
}
"""SVM accuracy and RMSE on full MNIST (David & Greental, table of results)."""

SECTIONS = {"steps": "At equal sequential steps", "cost": "At equal cost"}


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config for all rows; `rows` and `budgets` stand in for its method, activation and equal."""

    rows: tuple[Row, ...] = tuple(row for row in ROWS if not row.startswith("pretrained"))
    """of the tables: methods and activations; pretrained-tanh and pretrained-relu are there too"""
    budgets: tuple[Literal["steps", "cost"], ...] = ("steps", "cost")
    """what gradient descent takes as much of as ga, in a table each"""
    seeds: tuple[int, ...] | None = None
    """of each row: how many from --seed on, 1 where not given, or a list; pca has only the first"""


def main(arguments: list[str]) -> None:
    """Run the command line that follows the word `compare`.

    A run that `--out` already holds with the same config is not repeated, and the tables have every
    run that is there, so they can be made piece by piece.
    """
    given = parse(
        CompareConfig,
        arguments,
        presets={name: CompareConfig(**asdict(preset)) for name, preset in PRESETS.items()},
        program="python -m experiments.mnist_ga compare",
        description=__doc__ or "",
    )
    require(given.resume is None, "--resume", given.resume, "left out: --out goes on by itself")
    require(len(given.rows) > 0, "--rows", "an empty list", "at least one")
    require(len(given.budgets) > 0, "--budgets", "an empty list", "at least one")
    rows = _configs(given)
    dataset = load(given.dataset, given.data_dir)
    for configs in rows.values():
        check_against(configs[0], dataset)

    from experiments.autoencoder import methods, training
    from experiments.running import dry_run  # late, as in `mnist_ga.train`

    if given.dry_run:
        return dry_run.tell(given, rows, dataset, training, together=False)

    with comparison.opened(given, "mnist_ga-compare") as directory:
        comparison.summaries(directory, methods.METHODS, MEASURES)  # what is there must be sound
        for name, configs in rows.items():
            for config in configs:
                place = directory / f"{name}-{config.seed}"
                if not comparison.is_done(config, place):
                    run_directory.make_directory(place)
                    training.run(config, dataset, place)
                    cache.forget_programs()
        table(directory)


def table(directory: Path) -> None:
    """Write, draw and print the means over the seeds of all that the directory has runs of."""
    from experiments.autoencoder import methods
    from experiments.reporting import comparison_figures

    groups: dict[str, list[dict[str, Any]]] = {}
    for summary in comparison.summaries(directory, methods.METHODS, MEASURES):
        try:
            row = _row(summary["method"], summary["activation"])
            budget = summary.get("equal", "steps")
            if row not in ROWS or budget not in SECTIONS:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise comparison.refused(summary["place"] / "summary.json") from None
        accuracy, rmse = PUBLISHED.get(row, (None, None))
        published = {"published_accuracy": accuracy, "published_rmse": rmse}
        groups.setdefault(_name(row, budget), []).append({**summary, **published})
    for summaries in groups.values():
        summaries.sort(key=lambda summary: summary["seed"])
    sections = {}
    for budget, title in SECTIONS.items():
        names = [_name(row, budget) for row in ROWS]
        found = {name: groups[name] for name in names if name in groups}
        if any(_is_rival(name) for name in found):
            sections[title] = found
    views = comparison.tables(sections or {"": groups}, MEASURES, directory)
    names = [_name(row, budget) for row in ROWS for budget in SECTIONS]
    ordered = {name: groups[name] for name in names if name in groups}
    comparison_figures.features(directory / "compare.png", ordered)
    show(*views, f"written to {printable(directory)}")


def _configs(given: CompareConfig) -> dict[str, list[Config]]:
    """The configs of each row at each budget, by its name; InputError where one is wrong."""
    common = Config(**{field.name: getattr(given, field.name) for field in fields(Config)})
    common = replace(common, out=None, config=None, resume=None, seeds=None, dry_run=False)
    numbers = seeds.chosen((1,) if given.seeds is None else given.seeds, given.seed)
    found = {}
    for row in sorted({*given.rows}, key=ROWS.index):
        method, _, activation = row.partition("-")
        own: dict[str, Any] = {"method": method, "activation": activation or "tanh"}
        for budget in given.budgets if _is_rival(row) else ("steps",):
            found[_name(row, budget)] = [
                check(replace(common, **own, equal=budget, seed=seed))
                for seed in (numbers[:1] if method == "pca" else numbers)
            ]
    return found


def _row(method: str, activation: str) -> str:
    return method if method == "pca" else f"{method}-{activation}"


def _name(row: str, budget: str) -> str:
    return f"{row}-{budget}" if _is_rival(row) else row


def _is_rival(row: str) -> bool:
    """Whether the row depends on what it takes as much of as the genetic algorithm."""
    return not row.startswith(("ga", "pca"))
