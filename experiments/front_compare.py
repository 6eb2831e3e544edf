"""Draw fronts by several methods at the same cost each, and put them into one table."""

import csv
import json
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from experiments import comparison, descent, front_figures, front_report, report
from experiments.cli import InputError, parse
from experiments.datasets import load
from experiments.front_methods import METHODS
from experiments.fronts import log_hypervolume
from experiments.gemonn import PRESETS, Config, check, check_against, run

DENSITIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MEASURES = {
    "log_hypervolume": ("log hypervolume", "{:.3f}"),
    **{f"loss_at_{share}": (f"loss at {share}", "{:.4f}") for share in DENSITIES},
    "best_loss": ("lowest loss", "{:.4f}"),
    "best_test_loss": ("its test loss", "{:.4f}"),
    "cost": ("cost", "{:.3g}"),
    "sequential_steps": ("sequential steps", "{:,.0f}"),
    "seconds": ("seconds", "{:.0f}"),
}
NAMES = {
    "gemonn": "GEMONN",
    "nsga2": "NSGA-II",
    "nsga2-gradient": "NSGA-II(+gradient)",
    "nsga2-gradient-0": "NSGA-II(+gradient_0)",
    "pruning": "pruning snapshots",
    "regrowth": "regrowth snapshots",
}
_ENDLESS = 1_000_000  # generations of rivals, whose budget ends them

Record = dict[str, Any]
"""What the table and the figures know of one method and seed."""


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config for all rows; `methods` and `seeds` stand in for its `method` and `seed`."""

    methods: tuple[
        Literal[
            "gemonn",
            "nsga2",
            "nsga2-gradient",
            "nsga2-gradient-0",
            "descent",
            "pruning",
            "regrowth",
        ],
        ...,
    ] = ("gemonn", "nsga2", "nsga2-gradient", "nsga2-gradient-0", "descent", "pruning", "regrowth")
    """rows of the table; descent makes six, SGD and Adam at three rates each"""
    seeds: tuple[int, ...] = (0,)
    """independent runs of each row"""


def main(arguments: list[str]) -> None:
    """Run the command line that follows the word `compare`.

    Every method gets the budget or, where there is none, what gemonn has spent with its final
    refinement. A run that `--out` already holds with the same config is not repeated, and the table
    has every run that is there, so it can be made piece by piece.
    """
    given = parse(
        CompareConfig,
        arguments,
        presets={name: CompareConfig(**asdict(preset)) for name, preset in PRESETS.items()},
        program="python -m experiments.gemonn compare",
        description=__doc__ or "",
    )
    common = Config(**{field.name: getattr(given, field.name) for field in fields(Config)})
    common = check(replace(common, method="gemonn", out=None, config=None))
    dataset = load(common.dataset, common.data_dir)
    check_against(common, dataset)
    if "gemonn" not in given.methods:  # found out before anything is written
        for seed in given.seeds:
            _as_rival(common, (given.out or Path("--out")) / f"gemonn-{seed}")
    directory = given.out or report.new_directory(None, "gemonn-compare")
    for seed in given.seeds:
        for method in sorted(given.methods, key=list(METHODS).index):
            config = check(replace(common, seed=seed, method=method))
            if method != "gemonn":
                config = _as_rival(config, directory / f"gemonn-{seed}")
            place = directory / f"{method}-{seed}"
            if not comparison.is_done(config, place):
                report.make_directory(place)
                run(config, dataset, place)
    records = sorted(
        (record for path in directory.glob("*/summary.json") for record in _records(path.parent)),
        key=itemgetter("place", "seed"),
    )
    groups = {name: list(group) for name, group in groupby(records, itemgetter("method"))}
    table = comparison.tables(groups, MEASURES, directory)
    _draw(common, groups, directory)
    Console().print(table, f"written to {directory}", sep="\n")


def _as_rival(config: Config, evolved: Path) -> Config:
    """The config with the budget of the comparison; InputError where there is none yet."""
    if config.budget is None:
        try:
            cost = json.loads((evolved / "summary.json").read_text())["cost"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"--budget must be given, or {evolved} be there, whose cost the rivals get"
            ) from None
        config = replace(config, budget=float(cost))
    return replace(config, generations=_ENDLESS)


def _records(directory: Path) -> list[Record]:
    """One record for a run, or one for each of its individuals where these have names."""
    summary = json.loads((directory / "summary.json").read_text())
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    costs = [float(row["cost"]) for row in rows]
    method = summary["method"]
    common = {name: summary[name] for name in ("seed", "cost", "sequential_steps", "seconds")}
    common |= {"place": 100 * list(METHODS).index(method), "zero_loss": summary["zero_loss"]}
    if "names" not in summary:
        front = front_report.load_front(directory / "front.csv")
        losses = [float(row["best_loss"]) for row in rows]
        return [_record(common, NAMES[method], front, (costs, losses))]
    everybody = front_report.load_front(directory / "population.csv")
    records = []
    for index, name in enumerate(summary["names"]):
        front = everybody.cut(index + 1, index)
        losses = [float(row[f"loss of {name}"]) for row in rows]
        own = {**common, "place": common["place"] + descent.NAMES.index(name)}
        records.append(_record(own, name, front, (costs, losses)))
    return records


def _record(common: Record, name: str, front: Any, decline: tuple[list, list]) -> Record:
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
        "decline": tuple(map(np.array, decline)),
    }


def _draw(config: Config, groups: dict[str, list[Record]], directory: Path) -> None:
    """The fronts and declines of the first seed of each method."""
    firsts = {name: records[0] for name, records in groups.items()}
    is_published = config.model == "autoencoder" and config.dataset.startswith("mnist")
    loss = front_report.loss_name(config)
    front_figures.fronts(
        directory / "fronts.png",
        {name: record["points"] for name, record in firsts.items()},
        loss_name=f"{loss} on training images",
        zero_loss=next(iter(firsts.values()))["zero_loss"],
        published=front_report.published() if is_published else None,
        scores={name: record["log_hypervolume"] for name, record in firsts.items()},
    )
    front_figures.decline(
        directory / "decline.png",
        {name: record["decline"] for name, record in firsts.items()},
        x_name="cost, in gradient examples",
        loss_name=f"{loss} of the best network on its batch",
    )
