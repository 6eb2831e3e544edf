"""Draw fronts by several methods at the same cost each, and put them into one table."""

from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args

from experiments.datasets.catalog import load
from experiments.front.config import PRESETS, Config, Method, check, check_against
from experiments.reporting import comparison
from experiments.running import cache, files, run_directory, seeds
from experiments.running.cli import InputError, parse, printable, require, show

ENDLESS = 1_000_000
"""Generations of rivals, whose budget ends them."""


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config for all rows; `methods` stand in for its `method`."""

    methods: tuple[Method, ...] = get_args(Method)
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
    require(len(given.methods) > 0, "--methods", "an empty list", "at least one")
    common = Config(**{field.name: getattr(given, field.name) for field in fields(Config)})
    common = replace(common, out=None, config=None, resume=None, seeds=None, dry_run=False)
    common = check(replace(common, method="gemonn"))
    numbers = seeds.chosen((1,) if given.seeds is None else given.seeds, given.seed)
    for method in given.methods:
        check(replace(common, method=method))
    dataset = load(common.dataset, common.data_dir)
    check_against(common, dataset)
    if "gemonn" not in given.methods:  # found out before anything is written
        for seed in numbers:
            _of_method(common, given.methods[0], seed, given.out or Path("--out"))

    # late, as in `train`
    from experiments.front import methods as front_methods
    from experiments.front import records as front_records
    from experiments.front import training as front_training
    from experiments.running import dry_run

    if given.dry_run:
        place = given.out or Path("--out")
        rows = {
            method: [_of_method(common, method, seed, place) for seed in numbers]
            for method in given.methods
        }
        return dry_run.tell(given, rows, dataset, front_training, together=False)
    with comparison.opened(given, "gemonn-compare") as directory:
        front_records.read_all(directory)  # what is there already must be sound
        for seed in numbers:
            for method in sorted(given.methods, key=list(front_methods.METHODS).index):
                config = _of_method(common, method, seed, directory)
                place = directory / f"{method}-{seed}"
                if not comparison.is_done(config, place):
                    run_directory.make_directory(place)
                    front_training.run(config, dataset, place)
                    cache.forget_programs()
        groups = table(directory)
        front_records.draw(common, groups, directory)


def table(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Write and print the means over the seeds of each method that the directory has runs of.

    Returns the records of its rows.
    """
    from experiments.front import records as front_records

    records = front_records.read_all(directory)
    records.sort(key=itemgetter("place", "seed"))
    groups = {name: list(group) for name, group in groupby(records, itemgetter("method"))}
    views = comparison.tables({"": groups}, front_records.MEASURES, directory)
    show(*views, f"written to {printable(directory)}")
    return groups


def _of_method(common: Config, method: str, seed: int, directory: Path) -> Config:
    """The config of a run; for rivals with the budget of the comparison.

    InputError where that is what gemonn has spent, and its run is not in the directory.
    """
    config = replace(common, seed=seed, method=method)
    if method == "gemonn":
        return check(config)
    if config.budget is None:
        evolved = directory / f"gemonn-{seed}"
        try:
            cost = float(files.read_json(evolved / "summary.json")["cost"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            raise InputError(
                f"--budget must be given, or {evolved} be there, whose cost the rivals get"
            ) from None
        config = replace(config, budget=cost)
    return replace(check(config), generations=ENDLESS)
