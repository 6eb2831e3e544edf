"""Draw fronts by several methods at the same cost each, and put them into one table."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

from experiments.datasets.catalog import load
from experiments.front.config import PRESETS, Config, Method, check, check_dataset
from experiments.running import comparison, files
from experiments.running.cli import InputError, require

UNLIMITED_GENERATIONS = 1_000_000
"""Generations of rivals, whose budget ends them."""


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config for all rows; `methods` stand in for its `method`."""

    methods: tuple[Method, ...] = get_args(Method)
    """rows of the table; descent makes six, SGD and Adam at three rates each"""
    seeds: tuple[int, ...] | None = None
    """runs of each row: their number, from --seed on, or a list of seeds; by default one"""

    GROUPS = {"comparison": ("methods", "seeds"), **Config.GROUPS}


def main(arguments: list[str]) -> None:
    """Run the command line that follows the word `compare`.

    Every method gets the budget or, where there is none, what gemonn has spent with its final
    refinement. A run that `--out` already holds with the same config is not repeated, and the table
    has every run that is there, so it can be made piece by piece.
    """
    program = "python -m experiments.gemonn compare"
    given = comparison.parse_config(CompareConfig, arguments, PRESETS, program, __doc__)
    comparison.refuse_resume(given)
    require(len(given.methods) > 0, "--methods", "an empty list", "at least one")
    common = check(replace(comparison.shared_config(Config, given), method="gemonn"))
    numbers = comparison.seeds_of(given)
    for method in given.methods:
        check(replace(common, method=method))
    dataset = load(common.dataset, common.data_dir)
    check_dataset(common, dataset)
    missing = given.out or Path("--out")  # where gemonn's runs would have to be
    if "gemonn" not in given.methods:  # refused before anything is written
        for seed in numbers:
            _of_method(common, given.methods[0], seed, missing)

    from experiments.front import records, training  # late: they import JAX
    from experiments.front.methods import METHODS
    from experiments.running import dry_run

    if given.dry_run:
        rows = {
            method: [_of_method(common, method, seed, missing) for seed in numbers]
            for method in given.methods
        }
        return dry_run.describe(given, rows, dataset, training.TRAINING, together=False)
    with comparison.open_directory(given, "gemonn-compare") as directory:
        records.read_all(directory)  # what is there already must be sound
        for seed in numbers:
            for method in sorted(given.methods, key=list(METHODS).index):
                config = _of_method(common, method, seed, directory)
                place = directory / f"{method}-{seed}"
                comparison.run_once(config, place, partial(training.run, config, dataset))
        groups = records.table(directory)
        records.draw(common, groups, directory)


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
    return replace(check(config), generations=UNLIMITED_GENERATIONS)
