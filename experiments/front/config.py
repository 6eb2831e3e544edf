"""Settings of the evolution of a front, and their validation."""

import contextlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from experiments.datasets.catalog import Dataset, Name, load
from experiments.running import files
from experiments.running.cli import MAX_COUNT, flag, require, require_at_least, require_widths
from experiments.running.config import LOWEST, RunConfig, check_images
from experiments.running.config import check as check_run

Method = Literal[
    "ladder",
    "ladder-no-mixing",
    "ladder-no-survival",
    "ladder-lineage",
    "gemonn",
    "nsga2",
    "nsga2-gradient",
    "nsga2-gradient-0",
    "independent",
    "descent",
    "pruning",
    "regrowth",
]


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a run."""

    method: Method = "ladder"
    """ladder and gemonn evolve a front; ladder also without mixing or survival, or with a lineage
    before it; the others are baselines"""
    model: Literal["autoencoder", "deep-autoencoder", "lenet", "lstm", "mlp"] = "autoencoder"
    """network to train: the first two reconstruct images, the others classify them"""
    hidden: tuple[int, ...] | None = None
    """widths of the hidden layers, or of the LSTM state; fixed for lenet"""
    dataset: Name = "mnist5k"
    """data set: mnist5k and digits are built in, and most others are generated from mnist5k; mnist,
    fashion_mnist and cifar10 are downloaded once"""
    validation: int = 0
    """number of training images held out to evaluate the front on as well"""
    population_size: int | None = None
    """number of networks; by default 16 for ladder and independent, 50 for the others"""
    initial_densities: Literal["geometric", "graded"] = "geometric"
    """densities of the initial population: geometrically spaced, or evenly as published"""
    lowest_density: float | None = None
    """density of the sparsest network with geometric densities; by default 0.0015 for ladder and
    independent, 0.002 for the others"""
    highest_density: float | None = None
    """density that the densest network of ladder and independent ends with; by default 0.1, or
    0.016 with a lineage"""
    lineage: float | None = None
    """share of the budget in which one network becomes sparse, at first; ladder then starts from
    it, for those who pay by cost rather than by sequential steps; by default 0.3 for ladder-lineage
    and 0 for the others"""
    generations: int = 1_000
    """largest number of generations"""
    budget: float | None = 1.5e6
    """cost at which the run ends, gradient examples + forward examples / 3; None for no limit"""
    batch_size: int = 128
    """number of images in a batch"""
    gradient: Literal["own", "paper"] = "own"
    """gradient that guides the child of the higher parent: its own, or as in the published code
    that of the lower parent"""
    stale_parents: bool = False
    """keep the losses of parents instead of scoring them again on each batch, as published"""
    refine_every: int = 1
    """number of generations between refinements of the offspring"""
    refine_steps: int = 20
    """number of sparse gradient steps of the offspring in a generation or refinement"""
    final_refine_steps: int = 0
    """number of final sparse gradient steps of the densest network, fewer for sparser ones"""
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    """optimiser of the refinements; sgd has momentum 0.9"""
    learning_rate: float | None = None
    """learning rate of gradient steps, where there is also a sparse one at density 1; by default
    0.04 for ladder and independent, or 0.01 if they classify, 0.001 for pruning and regrowth, 0.06
    for the others"""
    sparse_learning_rate: float | None = None
    """learning rate at density 0.002 of ladder, independent, pruning and regrowth; by default 5
    times that at density 1 for the first two, and the same for the others"""
    rate_genes: bool = False
    """multiply the learning rates of each network of ladder by a gene of its own, which evolves"""
    out: Path | None = None
    """new directory for the results; by default runs/<time>-gemonn"""
    plot: bool = False
    """draw the front into the run directory every few seconds"""

    GROUPS = {
        "common options": (
            "method",
            "model",
            "dataset",
            "data_dir",
            "population_size",
            "budget",
            "seed",
            "out",
            "plot",
            "quiet",
            "preset",
        ),
        "network": ("hidden",),
        "evolution": (
            "generations",
            "batch_size",
            "initial_densities",
            "lowest_density",
            "highest_density",
            "lineage",
            "gradient",
            "stale_parents",
        ),
        "refinement": (
            "optimizer",
            "learning_rate",
            "sparse_learning_rate",
            "rate_genes",
            "refine_steps",
            "refine_every",
            "final_refine_steps",
        ),
        **RunConfig.GROUPS,
    }

    @property
    def size(self) -> int:
        """The population size of a config that `check` has completed."""
        assert self.population_size is not None
        return self.population_size

    @property
    def rate(self) -> float:
        """The learning rate of a config that `check` has completed."""
        assert self.learning_rate is not None
        return self.learning_rate

    def lowest_extensions(self, run: Path) -> dict[str, float]:
        """The generations that are done or begun, and the budget, of methods with a population.

        The schedules of the other methods depend on the whole budget.
        """
        if population_multiple(self) is None or self.method in ON_LADDER:
            return {}
        done = 0.0
        for path in run.rglob("metrics.csv"):
            with contextlib.suppress(OSError, ValueError):
                columns = files.read_columns(path, {"generation": files.Range(0)})
                done = max([done, *map(float, columns.get("generation", ()))])
        is_begun = not any(run.rglob("summary.json"))
        budget = math.inf if self.budget is None else self.budget
        return {"generations": done + is_begun, "budget": budget}


ConfigType = TypeVar("ConfigType", bound=Config)

PRESETS = {
    "gajax": Config(),
    "paper": Config(
        preset="paper",
        method="gemonn",
        initial_densities="graded",
        generations=500,
        budget=None,
        gradient="paper",
        stale_parents=True,
        refine_steps=0,
        final_refine_steps=1_000,
    ),
}

HIDDEN = {
    "autoencoder": (500,),
    "deep-autoencoder": (500, 250, 100, 50),
    "lenet": (),
    "lstm": (128,),
    "mlp": (300, 100),
}
"""Default hidden layers."""

LENET_SIDE = 12
"""Fewest pixels of a side of an image, of which two convolutions and poolings leave one."""

LINEAGE_END = 0.02
"""Density of the last network of a lineage."""

ON_LADDER = ("ladder", "ladder-no-mixing", "ladder-no-survival", "ladder-lineage", "independent")
"""Methods whose networks have densities of their own from beginning to end."""

MIN_BATCHES = {"descent": 1, "pruning": 52, "regrowth": 48}
"""Fewest batches of baselines without a population, so that each stage gets some."""

_LOWEST = {
    **LOWEST,
    "generations": 1,
    "refine_every": 1,
    "refine_steps": 0,
    "final_refine_steps": 0,
}


def _complete(config: ConfigType) -> ConfigType:
    """The config with the defaults that depend on its method and model."""
    is_on_ladder = config.method in ON_LADDER
    rate, ratio = 0.06, None
    if is_on_ladder:
        rate, ratio = 0.04 if "autoencoder" in config.model else 0.01, 5
    elif config.method in ("pruning", "regrowth"):
        rate, ratio = 1e-3, 1
    rate = rate if config.learning_rate is None else config.learning_rate
    lineage = config.lineage
    if lineage is None:
        lineage = 0.3 if config.method == "ladder-lineage" else 0.0
    defaults = {
        "lineage": lineage,
        "hidden": HIDDEN[config.model],
        "population_size": 16 if is_on_ladder else 50,
        "lowest_density": 0.0015 if is_on_ladder else 0.002,
        "highest_density": 0.8 * LINEAGE_END if lineage else 0.1,
        "learning_rate": rate,
        "sparse_learning_rate": ratio and ratio * rate,
    }
    missing = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    return replace(config, **missing)


def check(config: ConfigType) -> ConfigType:
    """Complete the config with the defaults of its method and model; InputError if invalid."""
    config = _complete(config)
    hidden, lowest = config.hidden, config.lowest_density
    assert hidden is not None and lowest is not None
    require_widths("--hidden", hidden)
    number = {"autoencoder": 1, "lstm": 1, "lenet": 0}.get(config.model)
    fits = len(hidden) > 0 if number is None else len(hidden) == number
    expected = "positive widths"
    if number is not None:
        expected = ("one positive width" if number else "no width") + f" for {config.model}"
    shown = " ".join(map(str, hidden))
    require(fits and all(width > 0 for width in hidden), "--hidden", shown, expected)
    require_at_least(config, _LOWEST)
    for name in ("learning_rate", "sparse_learning_rate", "budget"):
        value = getattr(config, name)
        require(value is None or 0 < value < math.inf, flag(name), value, "above 0")
    steps, most = config.final_refine_steps, MAX_COUNT // config.batch_size
    require(steps <= most, "--final-refine-steps", steps, f"at most {most:,}")
    if fewest := MIN_BATCHES.get(config.method):
        batches = config.generations * config.size
        batches = batches if config.budget is None else config.budget // config.batch_size
        expected = f"from {fewest} to {MAX_COUNT:,} batches for {config.method}"
        require(fewest <= batches <= MAX_COUNT, "--budget", f"{batches:g}", expected)
    require(0 < lowest <= 1, "--lowest-density", lowest, "above 0 and at most 1")
    if config.method in ON_LADDER:
        highest, most = config.highest_density, LINEAGE_END if config.lineage else 1
        assert highest is not None
        expected = f"from {lowest:g}, the lowest density, to {most:g}"
        require(lowest <= highest <= most, "--highest-density", highest, expected)
        require(
            config.refine_steps > 0,
            "--refine-steps",
            config.refine_steps,
            f"1 or more for {config.method}",
        )
    lineage, is_bounded = config.lineage, config.budget is not None
    is_needed = config.method == "ladder-lineage" and not is_bounded
    require(not is_needed, "--budget", None, "a number for ladder-lineage, which has a share of it")
    assert lineage is not None
    require(0 <= lineage < 1, "--lineage", lineage, "from 0 to below 1")
    fits = not lineage or config.method.startswith("ladder") and is_bounded
    expected = "0" if is_bounded else "0 without a budget"
    require(fits, "--lineage", lineage, f"{expected} for {config.method}")
    is_evolving = not config.rate_genes or config.method in ON_LADDER
    require(is_evolving, "--rate-genes", True, f"False for {config.method}")
    check_run(config)
    return config


def check_dataset(config: Config, dataset: Dataset) -> None:
    """Raise InputError if the config does not fit the data."""
    images = check_images(config, len(dataset.train_images))
    height, width = dataset.train_images.shape[1:3]
    is_large = config.model != "lenet" or min(height, width) >= LENET_SIDE
    expected = f"another model for images of {height} x {width} pixels, below {LENET_SIDE}"
    require(is_large, "--model", "lenet", expected)
    parts = 1  # of the images, of which one is a batch: that which judges, and others to learn from
    if config.method in ON_LADDER:
        parts = 3
    elif config.method == "gemonn" and config.refine_steps or "gradient" in config.method:
        parts = 2
    most, size = images // parts, config.batch_size
    expected = f"at most {most} for {config.method}, which judges by batches of their own"
    require(size <= most, "--batch-size", size, expected)


def load_data(config: Config, dataset: Dataset | None = None) -> Dataset:
    """Load the data set unless given; InputError if the config does not fit it."""
    dataset = dataset or load(config.dataset, config.data_dir)
    check_dataset(config, dataset)
    return dataset


def population_multiple(config: Config) -> int | None:
    """Factor that the population per device must be a multiple of; None if it is not sharded."""
    return 1 if config.method.startswith(("gemonn", "nsga2", *ON_LADDER)) else None
