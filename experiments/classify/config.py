"""Settings of `classify`."""

from dataclasses import dataclass
from typing import Literal

from experiments.datasets.catalog import Name
from experiments.front.config import Config, Method

Pretraining = Literal["none", Method]


@dataclass(frozen=True)
class ClassifyConfig(Config):
    """A config of all pre-trainings; `datasets` and `methods` replace `dataset` and `method`."""

    datasets: tuple[Name, ...] | None = None
    """columns of the table; by default the digits and all generated sets"""
    methods: tuple[Pretraining, ...] = ("gemonn", "none", "descent", "pruning")
    """rows of the table: methods of pre-training; none starts from random weights"""
    repeats: int = 5
    """number of classifiers on each encoder, with different initial weights"""
    validation: int = 0
    """number of training images held out to choose the member of the front; 0 for a fifth"""
    initial_densities: Literal["geometric", "graded"] = "graded"
    """densities of the initial population: geometrically spaced, or evenly as published, which
    gives more dense networks to choose from"""
    learning_rate: float | None = None
    """learning rate of gradient steps; by default 0.01 for gemonn, as dense networks need a lower
    one than sparse ones, and that of single runs for the others"""
    budget: float | None = 4e5
    """cost at which pre-training ends: gradient examples + forward examples / 3"""
    seeds: tuple[int, ...] | None = None
    """repeat everything: number of seeds, counting from --seed, or a list; by default one"""

    GROUPS = {"comparison": ("datasets", "methods", "repeats", "seeds"), **Config.GROUPS}
