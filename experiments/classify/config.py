"""Settings of `classify`: those of the pre-trainings, and which of them to compare."""

from dataclasses import dataclass
from typing import Literal

from experiments.datasets.catalog import Name
from experiments.front.config import Config, Method

Pretraining = Literal["none", Method]


@dataclass(frozen=True)
class ClassifyConfig(Config):
    """A config of all pre-trainings; `datasets` and `methods` stand in for one of each."""

    datasets: tuple[Name, ...] | None = None
    """columns of the table; by default digits and all that is made of them"""
    methods: tuple[Pretraining, ...] = ("gemonn", "none", "descent", "pruning")
    """rows of the table: pre-training by these; none starts from random weights"""
    repeats: int = 5
    """classifiers on each encoder, from other random weights each"""
    validation: int = 0
    """training images that choose the front's member; a fifth where it is 0"""
    initial_densities: Literal["geometric", "graded"] = "graded"
    """densities of the first population: a fixed factor apart, or a fixed difference as published,
    for fronts with more dense networks to choose from"""
    learning_rate: float = 0.01
    """learning rate of the refinements; dense networks need a lower one than sparse ones"""
    budget: float | None = 4e5
    """cost at which pre-training ends: gradient examples + forward examples / 3"""
    seeds: tuple[int, ...] | None = None
    """repeat everything: number of seeds, from --seed on, or a list; by default one"""

    GROUPS = {"comparison": ("datasets", "methods", "repeats", "seeds"), **Config.GROUPS}
