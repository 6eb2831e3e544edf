"""Train by several methods with several seeds, and compare them in tables and a figure."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from experiments.autoencoder.checks import check, check_dataset
from experiments.autoencoder.config import PRESETS, Config
from experiments.autoencoder.rows import ABLATIONS, ROWS, Row, is_baseline, name_of
from experiments.datasets.catalog import load
from experiments.running import comparison
from experiments.running.cli import flag, require


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
    tune: bool = False
    """add rows of the baselines with the learning rate of --rates that is best on held-out training
    images"""
    rates: tuple[float, ...] = (0.02, 0.05, 0.1)
    """learning rates to choose from"""
    seeds: tuple[int, ...] | None = None
    """runs of each row: their number, counting from --seed, or a list of seeds; by default one; pca
    has only the first"""

    GROUPS = {
        "comparison": ("rows", "ablate", "budgets", "seeds", "tune", "rates"),
        **Config.GROUPS,
    }


def main(arguments: list[str]) -> None:
    """Run the command `compare`.

    Runs that are finished in `--out` are not repeated, and the tables include all runs there.
    """
    program = "python -m experiments.mnist_ga compare"
    given = comparison.parse_config(CompareConfig, arguments, PRESETS, program, __doc__)
    comparison.refuse_resume(given)
    for name in ("rows", "budgets", "rates"):
        require(len(getattr(given, name)) > 0, flag(name), "an empty list", "at least one")
    require(min(given.rates) > 0, "--rates", min(given.rates), "above 0")
    dataset = load(given.dataset, given.data_dir)
    held_out = given.validation or len(dataset.train_images) // comparison.HELD_OUT
    todo = _todo(given, held_out)
    configs = comparison.configs_by_row(todo, given.out or Path("--out"))
    for row in configs.values():
        check_dataset(row[0], dataset)

    from experiments.autoencoder import records, training  # late: they import JAX
    from experiments.running import dry_run

    if given.dry_run:
        return dry_run.describe(given, configs, dataset, training.TRAINING, together=False)

    with comparison.open_directory(given, "mnist_ga-compare") as directory:
        records.read_all(directory)  # existing runs must be intact
        comparison.run_all(
            comparison.runs_of(todo),
            directory,
            lambda config, title, path: training.run(config, dataset, path, title),
        )
        records.table(directory)


def _todo(given: CompareConfig, held_out: int) -> list[tuple[comparison.Row, int]]:
    """The rows and seeds to run; InputError if a config is invalid."""
    common, numbers = comparison.shared_config(Config, given), comparison.seeds_of(given)
    grid = {f"{rate:g}": {"learning_rate": rate} for rate in given.rates}
    # Any SVM will do where it is not compared.
    trial = {"validation": held_out, "svm_c": 10.0, "svm_gamma": 1.0}
    todo = []
    for row in sorted({*given.rows, *(ABLATIONS if given.ablate else ())}, key=ROWS.index):
        method, _, activation = row.rpartition("-") if row != "pca" else ("pca", "", "tanh")
        changes: dict[str, Any] = {"method": method, "activation": activation}
        for budget in given.budgets if is_baseline(row) else ("steps",):
            common_of_row = check(replace(common, **changes, equal=budget))

            def config_of(seed: int, _: Path, config: Config = common_of_row) -> Config:
                return replace(config, seed=seed)

            for is_tuned in (False, True) if given.tune and is_baseline(row) else (False,):
                entry = comparison.Row(
                    name_of(row, budget, is_tuned=is_tuned),
                    config_of,
                    grid if is_tuned else {},
                    trial,
                    lambda summary: -summary["validation_rmse"],
                )
                todo += [(entry, seed) for seed in (numbers[:1] if method == "pca" else numbers)]
    return todo
