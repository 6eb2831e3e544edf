"""Pre-train encoders by several methods, put a classifier on each, and compare their accuracy."""

from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from experiments.datasets.catalog import Dataset, Made, Name, load
from experiments.front import compare as front_compare
from experiments.front.config import PRESETS, Config, Method, check, check_against
from experiments.reporting import comparison
from experiments.running import cache, run_directory, seeds
from experiments.running.cli import flag, parse, require, require_at_least

Pretraining = Literal["none", Method]


@dataclass(frozen=True)
class ClassifyConfig(Config):
    """A config of all pre-trainings; `datasets` and `methods` stand in for one of each."""

    datasets: tuple[Name, ...] | None = None
    """columns of the table; digits and all that is made of them where not given"""
    methods: tuple[Pretraining, ...] = ("gemonn", "none", "descent", "pruning")
    """rows of the table: pre-training by these; none starts from random weights"""
    repeats: int = 5
    """classifiers on each encoder, from other random weights each"""
    validation: int = 0
    """training images that choose the front's member; a fifth where it is 0"""
    initial_densities: Literal["geometric", "graded"] = "graded"
    """of the first population: a fixed factor apart, or a fixed difference as published, for
    fronts with more dense networks to choose from"""
    learning_rate: float = 0.01
    """of the refinements; dense networks need a lower one than a front down to the sparsest"""
    budget: float | None = 4e5
    """end pre-training when this much cost is spent: gradient examples + forward examples / 3"""
    seeds: tuple[int, ...] | None = None
    """of everything: how many from --seed on, 1 where not given, or a list of seeds"""


def main(arguments: list[str]) -> None:
    """Run the command line that follows the word `classify`.

    What `--out` already holds with the same config is not repeated, and the table has all that is
    there, so it can be made piece by piece.
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
        left_out = "left out of classify, which goes on with the same --out"
        require(not getattr(given, name), flag(name), getattr(given, name), left_out)
    require(not given.plot, "--plot", True, "left out of classify, which draws once, at its end")
    is_one = "autoencoder" in given.model
    require(is_one, "--model", given.model, "autoencoder or deep-autoencoder to classify")
    require(len(given.methods) > 0, "--methods", "an empty list", "at least one")
    require_at_least(given, {"repeats": 1})
    numbers = seeds.chosen((1,) if given.seeds is None else given.seeds, given.seed)
    names = given.datasets
    if names is None:
        digits: Name = "mnist5k" if given.data_dir is None else "mnist"
        names = (digits, *get_args(Made))
    rows = []
    for name in names:
        dataset = load(name, given.data_dir)
        for seed in numbers:
            configs = [_config(given, name, dataset, method, seed) for method in given.methods]
            check_against(configs[0], dataset)
            rows += [(config, dataset) for config in configs]

    from experiments.classify import pretraining
    from experiments.classify import report as classify_report  # late, as in `gemonn.train`

    with comparison.opened(given, "gemonn-classify") as directory:
        classify_report.read_all(directory)  # what is there already must be sound
        for config, dataset in rows:
            place = directory / f"{config.dataset}-{config.methods[0]}-{config.seed}"
            if not comparison.is_done(config, place):
                run_directory.make_directory(place)
                pretraining.run(config, dataset, place)
                cache.forget_programs()
        classify_report.tables(directory)


def _config(
    given: ClassifyConfig, name: Name, dataset: Dataset, method: Pretraining, seed: int
) -> ClassifyConfig:
    """The config of a single row and column; InputError where it is wrong."""
    config = check(
        replace(
            given,
            dataset=name,
            datasets=None,
            methods=(method,),
            method="gemonn" if method == "none" else method,
            seed=seed,
            seeds=None,
            validation=given.validation or len(dataset.train_images) // 5,
            out=None,
            config=None,
        )
    )
    if config.method == "gemonn" or config.budget is None:
        return config
    return replace(config, generations=front_compare.ENDLESS)  # the budget ends it
