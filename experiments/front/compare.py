"""Compute fronts by several methods at equal cost, and compare them in a table and figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import get_args

from experiments.datasets.catalog import load
from experiments.front.config import PRESETS, Config, Method, check, check_dataset
from experiments.front.rows import TUNING, Budget, Row, rows_of
from experiments.running import comparison, files, run_directory
from experiments.running.cli import InputError, flag, require

REFERENCES = ("ladder", "gemonn")
"""Methods that others are compared with at the cost of the first one that has run."""

UNLIMITED_GENERATIONS = 1_000_000
"""Generations of the other methods, which end by their budget."""

HELD_OUT = 10
"""One image in so many is held out to choose learning rates by, unless `--validation` is given."""


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config of all rows; `methods` replace `method`."""

    methods: tuple[Method, ...] = get_args(Method)
    """rows of the table; descent makes six, SGD and Adam at three rates each"""
    budgets: tuple[Budget, ...] = get_args(Budget)
    """what pruning and regrowth have in common with the first method, a row for each: its cost, by
    more steps; or its steps, at the same cost by larger batches"""
    tune: bool = False
    """add rows of independent, pruning and regrowth with the learning rates that are best on
    held-out training images, of all pairs of --rates and --sparse-rates"""
    rates: tuple[float, ...] = (0.01, 0.04)
    """learning rates at density 1 to choose from"""
    sparse_rates: tuple[float, ...] = (0.1, 0.4)
    """learning rates at density 0.002 to choose from"""
    seeds: tuple[int, ...] | None = None
    """runs of each row: their number, counting from --seed, or a list of seeds; by default one"""

    GROUPS = {
        "comparison": ("methods", "budgets", "seeds", "tune", "rates", "sparse_rates"),
        **Config.GROUPS,
    }


def main(arguments: list[str]) -> None:
    """Run the command `compare`.

    Every method gets the cost that ladder has spent within the budget or, without it, gemonn, whose
    final refinement is included; without either, the budget. Runs that are finished in `--out` are
    not repeated, and the table includes all runs there.
    """
    program = "python -m experiments.gemonn compare"
    given = comparison.parse_config(CompareConfig, arguments, PRESETS, program, __doc__)
    comparison.refuse_resume(given)
    for name in ("methods", "budgets", "rates", "sparse_rates"):
        require(len(getattr(given, name)) > 0, flag(name), "an empty list", "at least one")
    for name in ("rates", "sparse_rates"):
        lowest = min(getattr(given, name))
        require(lowest > 0, flag(name), lowest, "above 0")
    common = comparison.shared_config(Config, given)
    numbers = comparison.seeds_of(given)
    rows = rows_of(given.methods, given.budgets, tune=given.tune)
    checked = [_checked(common, row.method) for row in rows]
    dataset = load(common.dataset, common.data_dir)
    for config in checked:
        check_dataset(config, dataset)
    existing = given.out or Path("--out")  # directory of earlier runs
    images = len(dataset.train_images)
    held_out = common.validation or images // HELD_OUT
    config_of = partial(_config_of, common, most=images - held_out)
    grid = _grid(given, held_out)
    if rows[0].method not in REFERENCES:  # fail before anything is written
        for seed in numbers:
            config_of(rows[0], seed, existing)

    from experiments.front import records, training  # late: they import JAX
    from experiments.running import dry_run

    for row in rows:
        training.capacity(_checked(common, row.method), dataset)
    if given.dry_run:
        plans = {
            row.name: [make(existing) for name, make in _runs([row], numbers, config_of, grid)]
            for row in rows
        }
        return dry_run.describe(given, plans, dataset, training.TRAINING, together=False)
    with comparison.open_directory(given, "gemonn-compare") as directory:
        records.read_all(directory)  # existing runs must be intact
        todo = _runs(rows, numbers, config_of, grid)
        for number, (name, make) in enumerate(todo, 1):
            config = make(directory)
            title = comparison.title(name, config.seed, number, len(todo))
            run = partial(training.run, config, dataset, title=title)
            comparison.run_once(config, directory / name, run)
        groups = records.table(directory)
        records.draw(check(common), groups, directory)


Make = Callable[[Path], Config]
"""The config of a run in the directory of the comparison, which may depend on runs before it."""


def _checked(common: Config, method: str, seed: int | None = None) -> Config:
    """The config of a method, without what is for the ladder alone if it is another one."""
    if not method.startswith("ladder"):
        common = replace(common, lineage=None, rate_genes=False)
    return check(replace(common, method=method, seed=common.seed if seed is None else seed))


def _config_of(common: Config, row: Row, seed: int, directory: Path, *, most: int) -> Config:
    """The config of a run, whose budget is the cost of a finished run of the first reference.

    Where none has run, that of the common config, which references may go without. InputError if
    there is neither, or if the run of the reference has other settings. Batches have at most `most`
    images.
    """
    is_reference = row.method in REFERENCES
    count = REFERENCES.index(row.method) if is_reference else len(REFERENCES)
    for reference in REFERENCES[:count]:
        evolved = directory / f"{reference}-{seed}"
        if not run_directory.is_finished(evolved):  # whether or not the settings suit it
            continue
        if comparison.is_done(_checked(common, reference, seed), evolved):
            try:
                summary = files.read_json(evolved / "summary.json")
                budget, steps = float(summary["cost"]), int(summary["sequential_steps"])
            except (OSError, ValueError, KeyError, TypeError, OverflowError):
                raise comparison.damaged_run(evolved / "summary.json") from None
            break
    else:
        if is_reference:
            return _checked(common, row.method, seed)
        reference, budget, steps = REFERENCES[0], common.budget, None
    if budget is None:
        expected = f"unless {directory / f'{REFERENCES[0]}-{seed}'} is a finished run with the cost"
        raise InputError(f"--budget must be given {expected} to match")
    common = replace(common, budget=budget)
    if row.equal == "steps":
        batch_size = min(_checked(common, reference).size * common.batch_size, most)
        budget = budget if steps is None else float(steps * batch_size)
        common = replace(common, batch_size=batch_size, budget=budget)
    return replace(_checked(common, row.method, seed), generations=UNLIMITED_GENERATIONS)


def _grid(given: CompareConfig, held_out: int) -> dict[str, dict[str, float]]:
    """The settings to choose from, by the names of their runs."""
    return {
        f"{dense:g}-{sparse:g}": {
            "learning_rate": dense,
            "sparse_learning_rate": sparse,
            "validation": held_out,
        }
        for dense, sparse in product(given.rates, given.sparse_rates)
    }


def _runs(
    rows: Sequence[Row],
    numbers: Sequence[int],
    config_of: Callable[[Row, int, Path], Config],
    grid: Mapping[str, dict[str, float]],
) -> list[tuple[str, Make]]:
    """The name and the config of each run; rates are chosen once, by runs of the first seed."""
    runs: list[tuple[str, Make]] = []
    for seed in numbers:
        for row in rows:
            make = partial(config_of, row, seed)
            if row.is_tuned:
                tried = {str(TUNING / f"{row.name}-{name}"): grid[name] for name in grid}
                if seed == numbers[0]:
                    runs += [(name, partial(_changed, make, tried[name])) for name in tried]
                make = partial(_tuned, make, tried)
            runs.append((f"{row.name}-{seed}", make))
    return runs


def _changed(make: Make, changes: dict[str, float], directory: Path) -> Config:
    return check(replace(make(directory), **changes))


def _tuned(make: Make, tried: Mapping[str, dict[str, float]], directory: Path) -> Config:
    """The config with the rates that are best on held-out images, any if none has been tried."""
    scores = {}
    for name in tried:
        path = directory / name / "summary.json"
        if path.exists():
            try:
                scores[name] = float(files.read_json(path)["validation_log_hypervolume"])
            except (OSError, ValueError, KeyError, TypeError, OverflowError):
                raise comparison.damaged_run(path) from None
    best = max(scores, key=lambda name: scores[name], default=next(iter(tried)))
    return _changed(make, {**tried[best], "validation": make(directory).validation}, directory)
