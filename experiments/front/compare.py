"""Compute fronts by several methods at equal cost, and compare them in a table and figures."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

from experiments.datasets.catalog import load
from experiments.front.config import PRESETS, Config, Method, check, check_dataset
from experiments.running import comparison, files, run_directory
from experiments.running.cli import InputError, require

REFERENCES = ("ladder", "gemonn")
"""Methods that others are compared with at the cost of the first one that has run."""

UNLIMITED_GENERATIONS = 1_000_000
"""Generations of the other methods, which end by their budget."""


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

    Every method gets the cost that ladder has spent within the budget or, without it, gemonn, whose
    final refinement is included; without either, the budget. Runs that are finished in `--out` are
    not repeated, and the table includes all runs there.
    """
    program = "python -m experiments.gemonn compare"
    given = comparison.parse_config(CompareConfig, arguments, PRESETS, program, __doc__)
    comparison.refuse_resume(given)
    require(len(given.methods) > 0, "--methods", "an empty list", "at least one")
    common = comparison.shared_config(Config, given)
    numbers = comparison.seeds_of(given)
    checked = [_checked(common, method) for method in given.methods]
    dataset = load(common.dataset, common.data_dir)
    for config in checked:
        check_dataset(config, dataset)
    existing = given.out or Path("--out")  # directory of earlier runs
    ordered = sorted({*given.methods}, key=get_args(Method).index)  # those first that set the cost
    if ordered[0] not in REFERENCES:  # fail before anything is written
        for seed in numbers:
            _of_method(common, ordered[0], seed, existing)

    from experiments.front import records, training  # late: they import JAX
    from experiments.running import dry_run

    for method in ordered:
        training.capacity(_checked(common, method), dataset)
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
        records.draw(check(common), groups, directory)


def _checked(common: Config, method: str, seed: int | None = None) -> Config:
    """The config of a method, without what is for the ladder alone if it is another one."""
    if not method.startswith("ladder"):
        common = replace(common, lineage=0.0, rate_genes=False)
    return check(replace(common, method=method, seed=common.seed if seed is None else seed))


def _of_method(common: Config, method: str, seed: int, directory: Path) -> Config:
    """The config of a run, whose budget is the cost of a finished run of the first reference.

    Where none has run, that of the common config, which references may go without. InputError if
    there is neither, or if the run of the reference has other settings.
    """
    own = _checked(common, method, seed)
    count = REFERENCES.index(method) if method in REFERENCES else len(REFERENCES)
    for reference in REFERENCES[:count]:
        evolved = directory / f"{reference}-{seed}"
        if not run_directory.is_finished(evolved):  # whether or not the settings suit it
            continue
        if comparison.is_done(_checked(common, reference, seed), evolved):
            try:
                budget = float(files.read_json(evolved / "summary.json")["cost"])
            except (OSError, ValueError, KeyError, TypeError, OverflowError):
                raise comparison.damaged_run(evolved / "summary.json") from None
            break
    else:
        if method in REFERENCES:
            return own
        budget = common.budget
    if budget is None:
        expected = f"unless {directory / f'{REFERENCES[0]}-{seed}'} is a finished run with the cost"
        raise InputError(f"--budget must be given {expected} to match")
    config = _checked(replace(common, budget=budget), method, seed)
    return replace(config, generations=UNLIMITED_GENERATIONS)
