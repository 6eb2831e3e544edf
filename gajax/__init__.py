"""Training neural networks by evolution with gradients, whole populations at a time."""

from gajax import breeding, evaluation, fronts, individual, objectives, pareto, population, sharding
from gajax.algorithms.descent import DescentState, descent
from gajax.algorithms.ga import GAState, ga
from gajax.algorithms.gemonn import gemonn
from gajax.algorithms.nsga2 import nsga2
from gajax.algorithms.pruning import PruningState, pruning, pruning_moves
from gajax.algorithms.refinement import RefinementState, refinement
from gajax.evaluation import tied
from gajax.fronts import FrontState, Refine
from gajax.loop import best, evolve, run_generations, start, state_shapes
from gajax.operators import crossover, mutation, selection
from gajax.population import (
    concatenate,
    density,
    genes,
    init,
    linear_densities,
    size,
    sparse_copies,
    take,
)
from gajax.sparsity import sparse
from gajax.types import Algorithm, Data, Info, Position, Stage

__all__ = [
    "Algorithm",
    "Data",
    "DescentState",
    "FrontState",
    "GAState",
    "Info",
    "Position",
    "PruningState",
    "Refine",
    "RefinementState",
    "Stage",
    "best",
    "breeding",
    "concatenate",
    "crossover",
    "density",
    "descent",
    "evaluation",
    "evolve",
    "fronts",
    "ga",
    "gemonn",
    "genes",
    "individual",
    "init",
    "linear_densities",
    "mutation",
    "nsga2",
    "objectives",
    "pareto",
    "population",
    "pruning",
    "pruning_moves",
    "refinement",
    "run_generations",
    "selection",
    "sharding",
    "size",
    "sparse",
    "sparse_copies",
    "start",
    "state_shapes",
    "take",
    "tied",
]
