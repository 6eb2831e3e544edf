"""Compute fronts by several methods at equal cost, and compare them in a table and figures."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

from experiments.datasets.catalog import load
from experiments.front.config import PRESETS, Config, Method, check, check_dataset
from experiments.running import comparison, files
from experiments.running.cli import InputError, require

UNLIMITED_GENERATIONS = 1_000_000
"""Generations of baselines, which end by their budget."""


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config of all rows; `methods` replace `method`."""

    methods: tuple[Method, ...] = get_args(Method)
    """rows of the table; descent makes six, SGD and Adam at three rates each"""
    seeds: tuple[int, ...] | None = None
    """runs of each row: their number, counting from --seed, or a list of seeds; by default one"""

    GROUPS = {"comparison": ("methods", "seeds"), **Config.GROUPS}


def main(arguments: list[str]) -> None:
    """Run the command `compare`.

    Every method gets the cost that gemonn has spent within the budget, final refinement included,
    or the budget if there is no run of gemonn. Runs that are finished in `--out` are not repeated,
    and the table includes all runs there.
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
    existing = given.out or Path("--out")  # directory of earlier runs of gemonn
    if "gemonn" not in given.methods:  # fail before anything is written
        for seed in numbers:
            _of_method(common, given.methods[0], seed, existing)
    ordered = sorted({*given.methods}, key=get_args(Method).index)  # gemonn first

    from experiments.front import records, training  # late: they import JAX
    from experiments.running import dry_run

    for method in ordered:
        training.capacity(replace(common, method=method), dataset)
    if given.dry_run:
        rows = {
            method: [_of_method(common, method, seed, existing) for seed in numbers]
            for method in ordered
        }
        return dry_run.describe(given, rows, dataset, training.TRAINING, together=False)
    with comparison.open_directory(given, "gemonn-compare") as directory:
        records.read_all(directory)  # existing runs must be intact
        todo = [(method, seed) for seed in numbers for method in ordered]
        for number, (method, seed) in enumerate(todo, 1):
            config = _of_method(common, method, seed, directory)
            title = comparison.title(method, seed, number, len(todo))
            run = partial(training.run, config, dataset, title=title)
            comparison.run_once(config, directory / f"{method}-{seed}", run)
        groups = records.table(directory)
        records.draw(common, groups, directory)


def _of_method(common: Config, method: str, seed: int, directory: Path) -> Config:
    """The config of a run; baselines get the cost of gemonn, or the budget if it has not run.

    InputError if there is neither, or if the run of gemonn has other settings.
    """
    evolution = check(replace(common, seed=seed, method="gemonn"))
    if method == "gemonn":
        return evolution
    budget, evolved = common.budget, directory / f"gemonn-{seed}"
    if comparison.is_done(evolution, evolved):
        try:
            budget = float(files.read_json(evolved / "summary.json")["cost"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            raise comparison.damaged_run(evolved / "summary.json") from None
    if budget is None:
        expected = f"unless {evolved} is a finished run with the cost to match"
        raise InputError(f"--budget must be given {expected}")
    config = check(replace(evolution, method=method, budget=budget))
    return replace(config, generations=UNLIMITED_GENERATIONS)
