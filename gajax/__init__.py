"""Training neural networks by evolution with gradients, whole populations at a time."""

from gajax import (
    crossover,
    evaluation,
    mutation,
    pareto,
    population,
    selection,
    sharding,
)
from gajax.evaluation import tied
from gajax.fronts import FrontState, Refine
from gajax.ga import GAState, ga
from gajax.gemonn import gemonn
from gajax.gradient import GradientState, gradient
from gajax.nsga2 import nsga2
from gajax.population import around, concatenate, density, genes, graded, init, size, take
from gajax.refinement import RefinementState, refinement
from gajax.run import evolve, run, start, yielded_like
from gajax.sparse import sparse
from gajax.types import Algorithm, Data, Info

__all__ = [
    "Algorithm",
    "Data",
    "FrontState",
    "GAState",
    "GradientState",
    "Info",
    "Refine",
    "RefinementState",
    "around",
    "concatenate",
    "crossover",
    "density",
    "evaluation",
    "evolve",
    "ga",
    "genes",
    "gemonn",
    "graded",
    "gradient",
    "init",
    "mutation",
    "nsga2",
    "pareto",
    "population",
    "refinement",
    "run",
    "selection",
    "sharding",
    "size",
    "sparse",
    "start",
    "take",
    "tied",
    "yielded_like",
]
