"""Train by several methods with several seeds, and compare them in tables and a figure."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from experiments.autoencoder.config import PRESETS, Config, check, check_dataset
from experiments.autoencoder.rows import ABLATIONS, ROWS, Row, is_baseline, name_of
from experiments.datasets.catalog import load
from experiments.running import comparison
from experiments.running.cli import require


@dataclass(frozen=True)
class CompareConfig(Config):
    """A config of all rows; `rows` and `budgets` replace `method`, `activation` and `equal`."""

    rows: tuple[Row, ...] = tuple(
        row for row in ROWS if not row.startswith("pretrained") and row not in ABLATIONS
    )
    """rows of the tables: methods and activations; by default all but pretrained-tanh,
    pretrained-relu and those of --ablate"""
    ablate: bool = False
    """add the rows of the genetic algorithm without a part of it"""
    budgets: tuple[Literal["steps", "cost"], ...] = ("steps", "cost")
    """budgets in which gradient descent equals ga, with a table for each"""
    seeds: tuple[int, ...] | None = None
    """runs of each row: their number, counting from --seed, or a list of seeds; by default one; pca
    has only the first"""

    GROUPS = {"comparison": ("rows", "ablate", "budgets", "seeds"), **Config.GROUPS}


def main(arguments: list[str]) -> None:
    """Run the command `compare`.

    Runs that are finished in `--out` are not repeated, and the tables include all runs there.
    """
    program = "python -m experiments.mnist_ga compare"
    given = comparison.parse_config(CompareConfig, arguments, PRESETS, program, __doc__)
    comparison.refuse_resume(given)
    require(len(given.rows) > 0, "--rows", "an empty list", "at least one")
    require(len(given.budgets) > 0, "--budgets", "an empty list", "at least one")
    rows = _configs(given)
    dataset = load(given.dataset, given.data_dir)
    for configs in rows.values():
        check_dataset(configs[0], dataset)

    from experiments.autoencoder import records, training  # late: they import JAX
    from experiments.running import dry_run

    if given.dry_run:
        return dry_run.describe(given, rows, dataset, training.TRAINING, together=False)

    with comparison.open_directory(given, "mnist_ga-compare") as directory:
        records.read_all(directory)  # existing runs must be intact
        todo = [(name, config) for name, configs in rows.items() for config in configs]
        for number, (name, config) in enumerate(todo, 1):
            title = comparison.title(name, config.seed, number, len(todo))
            run = partial(training.run, config, dataset, title=title)
            comparison.run_once(config, directory / f"{name}-{config.seed}", run)
        records.table(directory)


def _configs(given: CompareConfig) -> dict[str, list[Config]]:
    """The configs of each row at each budget, by name; InputError if one is invalid."""
    common, numbers = comparison.shared_config(Config, given), comparison.seeds_of(given)
    configs = {}
    for row in sorted({*given.rows, *(ABLATIONS if given.ablate else ())}, key=ROWS.index):
        method, _, activation = row.rpartition("-") if row != "pca" else ("pca", "", "tanh")
        changes: dict[str, Any] = {"method": method, "activation": activation}
        for budget in given.budgets if is_baseline(row) else ("steps",):
            configs[name_of(row, budget)] = [
                check(replace(common, **changes, equal=budget, seed=seed))
                for seed in (numbers[:1] if method == "pca" else numbers)
            ]
    return configs
