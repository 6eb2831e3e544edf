"""Training neural networks by evolution with gradients, whole populations at a time."""

from gajax import crossover, evaluation, models, mutation, population, selection
from gajax.ga import GAState, ga
from gajax.gradient import GradientState, gradient
from gajax.population import concatenate, density, genes, init, size, take
from gajax.run import evolve, run, start
from gajax.sparse import sparse
from gajax.types import Algorithm, Data, Info

__all__ = [
    "Algorithm",
    "Data",
    "GAState",
    "GradientState",
    "Info",
    "concatenate",
    "crossover",
    "density",
    "evaluation",
    "evolve",
    "ga",
    "genes",
    "gradient",
    "init",
    "models",
    "mutation",
    "population",
    "run",
    "selection",
    "size",
    "sparse",
    "start",
    "take",
]
