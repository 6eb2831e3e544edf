"""Pre-train encoders by several methods, train classifiers on them and compare accuracies."""

from dataclasses import asdict, replace
from functools import partial
from typing import get_args

from experiments.classify.config import ClassifyConfig, Pretraining
from experiments.datasets.catalog import Dataset, Generated, Name, load
from experiments.front.checks import check, check_dataset
from experiments.front.compare import UNLIMITED_GENERATIONS
from experiments.front.config import PRESETS
from experiments.running import comparison
from experiments.running.cli import flag, require, require_at_least
from experiments.running.parsing import parse


def main(arguments: list[str]) -> None:
    """Run the command `classify`.

    Runs that are finished in `--out` are not repeated, and the table includes all runs there.
    """
    published = ClassifyConfig(**asdict(PRESETS["paper"]))
    presets = {"gajax": ClassifyConfig(), "paper": published}
    given = parse(
        ClassifyConfig,
        arguments,
        presets=presets,
        program="python -m experiments.gemonn classify",
        description=__doc__ or "",
    )
    for name in ("resume", "dry_run", "distributed"):
        left_out = "left out of classify, which resumes with the same --out"
        require(not getattr(given, name), flag(name), getattr(given, name), left_out)
    require(not given.plot, "--plot", True, "left out of classify, which draws only at its end")
    is_autoencoder = "autoencoder" in given.model
    require(is_autoencoder, "--model", given.model, "autoencoder or deep-autoencoder to classify")
    require(len(given.methods) > 0, "--methods", "an empty list", "at least one")
    require_at_least(given, {"repeats": 1})
    numbers = comparison.seeds_of(given)
    names = given.datasets
    if names is None:
        digits: Name = "mnist5k" if given.data_dir is None else "mnist"
        names = (digits, *get_args(Generated))
    rows = []
    for name in names:
        dataset = load(name, given.data_dir)
        for seed in numbers:
            configs = [_config(given, name, dataset, method, seed) for method in given.methods]
            check_dataset(configs[0], dataset)
            rows += [(config, dataset) for config in configs]

    from experiments.classify import pretraining, report  # late: they import JAX

    with comparison.open_directory(given, "gemonn-classify") as directory:
        report.read_all(directory)  # existing runs must be intact
        for config, dataset in rows:
            directory.stat()  # OSError if it has vanished
            run = directory / f"{config.dataset}-{config.methods[0]}-{config.seed}"
            comparison.run_once(config, run, partial(pretraining.run, config, dataset))
        report.write_tables(directory)


def _config(
    given: ClassifyConfig, name: Name, dataset: Dataset, method: Pretraining, seed: int
) -> ClassifyConfig:
    """The config of one row and column; InputError if it is invalid."""
    is_gemonn = method in ("gemonn", "none")
    rate = given.learning_rate
    if rate is None and is_gemonn:
        rate = 0.01
    config = check(
        replace(
            given,
            dataset=name,
            datasets=None,
            methods=(method,),
            method="gemonn" if is_gemonn else method,
            learning_rate=rate,
            seed=seed,
            seeds=None,
            validation=given.validation or len(dataset.train_images) // 5,
            out=None,
            config=None,
        )
    )
    if is_gemonn or config.budget is None:
        return config
    return replace(config, generations=UNLIMITED_GENERATIONS)
