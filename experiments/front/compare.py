"""Compute fronts by several methods at equal cost, and compare them in a table and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import get_args

from experiments.datasets.catalog import load
from experiments.front.checks import check, check_dataset
from experiments.front.config import PRESETS, Config, Method
from experiments.front.rows import Budget, Row, rows_of
from experiments.running import comparison, run_directory
from experiments.running.cli import InputError, flag, require

REFERENCES = ("ladder", "gemonn")
"""Methods that others are compared with at the cost of the first one that has run."""

UNLIMITED_GENERATIONS = 1_000_000
"""Generations of the other methods, which end by their budget."""


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
    held_out = common.validation or len(dataset.train_images) // comparison.HELD_OUT
    if given.tune:
        check_dataset(replace(checked[0], validation=held_out), dataset)
    config_of = partial(_config_of, common, most=len(dataset.train_images) - held_out)
    entries = _entries(given, rows, held_out, config_of)
    todo = [(entry, seed) for seed in numbers for entry in entries]
    if rows[0].method not in REFERENCES:  # fail before anything is written
        for seed in numbers:
            config_of(rows[0], seed, existing)

    from experiments.front import records, training  # late: they import JAX
    from experiments.running import dry_run

    for row in rows:
        training.capacity(_checked(common, row.method), dataset)
    if given.dry_run:
        configs = comparison.configs_by_row(todo, existing)
        return dry_run.describe(given, configs, dataset, training.TRAINING, together=False)
    with comparison.open_directory(given, "gemonn-compare") as directory:
        records.read_all(directory)  # existing runs must be intact
        comparison.run_all(
            comparison.runs_of(todo),
            directory,
            lambda config, title, path: training.run(config, dataset, path, title),
        )
        groups = records.table(directory)
        records.draw(check(common), groups, directory)


def _entries(
    given: CompareConfig,
    rows: Sequence[Row],
    held_out: int,
    config_of: Callable[[Row, int, Path], Config],
) -> list[comparison.Row]:
    """The rows with their configs and grids."""
    grid = {
        f"{dense:g}-{sparse:g}": {"learning_rate": dense, "sparse_learning_rate": sparse}
        for dense, sparse in product(given.rates, given.sparse_rates)
    }
    return [
        comparison.Row(
            row.name,
            partial(config_of, row),
            grid if row.is_tuned else {},
            {"validation": held_out},
            itemgetter("validation_log_hypervolume"),
        )
        for row in rows
    ]


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
                summary = run_directory.read_summary(evolved)
                budget, steps = float(summary["cost"]), int(summary["sequential_steps"])
            except (OSError, ValueError):
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
