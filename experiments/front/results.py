"""Results of the evolution of a front."""

from typing import Any, NamedTuple

import numpy as np

from experiments.datasets.catalog import Dataset
from experiments.front.config import Config
from experiments.front.measures import Front
from experiments.front.networks import Network
from gajax.types import Params


class Results(NamedTuple):
    """Results of a run: one of `rows` per generation, `summary` serialisable as JSON."""

    config: Config
    dataset: Dataset
    network: Network
    population: Params  # [P, ...], the front first, sparsest first
    front: Front
    members: Front  # the whole population, in its order
    stages: dict[str, tuple[np.ndarray, np.ndarray]]  # density and loss, on some training images
    snapshots: dict[int, Params]  # generation to its best network
    rows: list[dict[str, Any]]
    populations: list[dict[str, Any]]  # density and loss of all, of some generations
    summary: dict[str, Any]
