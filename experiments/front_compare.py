"""Draw fronts by several methods at the same cost each, and put them into one table."""

import json
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from experiments import comparison, run_directory, seeds
from experiments.cli import InputError, parse, require
from experiments.datasets import load
from experiments.gemonn import PRESETS, Config, check, check_against

_ENDLESS = 1_000_000  # generations of rivals, whose budget ends them


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config for all rows; `methods` stand in for its `method`."""

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
    seeds: tuple[int, ...] | None = None
    """of each row: how many from --seed on, 1 where not given, or a list of seeds"""


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
    require(given.resume is None, "--resume", given.resume, "left out: --out goes on by itself")
    common = Config(**{field.name: getattr(given, field.name) for field in fields(Config)})
    common = check(replace(common, method="gemonn", out=None, config=None, resume=None, seeds=None))
    numbers = seeds.chosen(given.seeds or (1,), given.seed)
    dataset = load(common.dataset, common.data_dir)
    check_against(common, dataset)
    if "gemonn" not in given.methods:  # found out before anything is written
        for seed in numbers:
            _as_rival(common, (given.out or Path("--out")) / f"gemonn-{seed}")

    from experiments import front_methods, front_records, front_training  # late, as in `train`

    with comparison.opened(given, "gemonn-compare") as directory:
        for seed in numbers:
            for method in sorted(given.methods, key=list(front_methods.METHODS).index):
                config = check(replace(common, seed=seed, method=method))
                if method != "gemonn":
                    config = _as_rival(config, directory / f"gemonn-{seed}")
                place = directory / f"{method}-{seed}"
                if not comparison.is_done(config, place):
                    run_directory.make_directory(place)
                    front_training.run(config, dataset, place)
        groups = table(directory)
        front_records.draw(common, groups, directory)


def table(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Write and print the means over the seeds of each method that the directory has runs of.

    Returns the records of its rows.
    """
    from experiments import front_records

    records = [
        record
        for path in directory.glob("*/summary.json")
        for record in front_records.read(path.parent)
    ]
    records.sort(key=itemgetter("place", "seed"))
    groups = {name: list(group) for name, group in groupby(records, itemgetter("method"))}
    view = comparison.tables(groups, front_records.MEASURES, directory)
    Console().print(view, f"written to {directory}", sep="\n")
    return groups


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
