"""Settings of the evolution of a front."""

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.datasets.catalog import Name
from experiments.running import files
from experiments.running.config import RunConfig

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

LINEAGE_END = 0.02
"""Density of the last network of a lineage."""

ON_LADDER = ("ladder", "ladder-no-mixing", "ladder-no-survival", "ladder-lineage", "independent")
"""Methods whose networks have densities of their own from beginning to end."""


def population_multiple(config: Config) -> int | None:
    """Factor that the population per device must be a multiple of; None if it is not sharded."""
    return 1 if config.method.startswith(("gemonn", "nsga2", *ON_LADDER)) else None
