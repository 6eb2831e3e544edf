"""How the estimators train: the states of a run of each method.

A method is a function of `error(network, batch)`, the mean error of one network on a batch; a key;
a population of `gajax.Individual` whose `hyper` has the `learning_rate`; the data; the examples
that are held out; and options. It yields a state after every generation. Functions are those of
this module, and the learning rate is in an array, so that equal sizes compile once.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import optax

from gajax import evaluation, individual, loop, population, types
from gajax.algorithms.descent import descent
from gajax.algorithms.ga import ga
from gajax.algorithms.gemonn import gemonn
from gajax.algorithms.pruning import Move, pruning
from gajax.context import with_context
from gajax.fronts import Refine
from gajax.individual import Individual
from gajax.sparsity import sparse
from gajax.types import Algorithm, Data


def _ga(
    error, key, start, data, held_out, *, epochs, population_size, batch_size, density
) -> Iterator[Any]:
    """The genetic algorithm, with one epoch a generation, which ranks by the held-out examples."""
    algorithm = ga(
        with_context(partial(_loss, error)),
        optimizer=_adam,
        survivors=population_size // 2,
        batch_size=min(batch_size, evaluation.example_count(data)),
        score_examples=1,  # a single scoring, which does not look at it
    )
    return _run(algorithm, key, start, data._replace(shared=(held_out,)), epochs)


def _gemonn(
    error, key, start, data, held_out, *, epochs, population_size, batch_size, density
) -> Iterator[Any]:
    """One network trained for half of the epochs, and then the front of its sparse copies."""
    examples, half = evaluation.example_count(data), -(-epochs // 2)
    batch_size = min(batch_size, examples // 2)
    trainer = descent(error, optimizer=_adam, batch_size=batch_size)
    for state in _run(trainer, key, start, data, half):
        yield state
    refine = Refine(_sparse_adam, steps=examples // batch_size - 1)
    algorithm = gemonn(error, batch_size=batch_size, refine=refine)
    algorithm = _of_copies(algorithm, population_size, density)
    yield from _run(algorithm, key, state.params, data, half)


def _pruning(
    error, key, start, data, held_out, *, epochs, population_size, batch_size, density
) -> Iterator[Any]:
    """One network, pruned at the beginning of every epoch."""
    examples = evaluation.example_count(data)
    batch_size = min(batch_size, examples)
    algorithm = pruning(
        error,
        optimizer=_adam,
        batch_size=batch_size,
        moves=_moves(epochs, examples // batch_size, density),
        may_be_zero=individual.all_leaves,
    )
    return _run(algorithm, key, start, data, epochs)


METHODS = {"ga": _ga, "gemonn": _gemonn, "pruning": _pruning}
"""The methods by their names."""


def _run(algorithm: Algorithm, key: int, start: Any, data: Data, generations: int) -> Any:
    """States after each generation, which is one program."""
    steps = loop.evolve(algorithm, key, start, data, generations=generations, together=1)
    return (state for state, _ in steps)


@types.cached
def _of_copies(algorithm: Algorithm, size: int, density: float) -> Algorithm:
    """The algorithm, for a population of one network that it makes sparse copies of."""

    def init(key: Any, networks: Individual, data: Data) -> Any:
        key_copies, key_init = jax.random.split(key)
        densities = density * population.linear_densities(size)
        network = population.take(networks, 0)
        copies = population.sparse_copies(key_copies, network, size, densities=densities)
        return algorithm.init(key_init, copies, data)

    return algorithm._replace(
        init=init, stages=lambda _, examples: algorithm.stages(size, examples)
    )


def _moves(epochs: int, batches: int, density: float) -> tuple[Move, ...]:
    """One an epoch; the density falls cubically (Zhu & Gupta), and is reached after two thirds."""
    progress = (min(1, 1.5 * epoch / epochs) for epoch in range(1, epochs + 1))
    densities = [density + (1 - density) * (1 - done) ** 3 for done in progress]
    return tuple(
        Move(0, i * batches, (i + 1) * batches, share) for i, share in enumerate(densities)
    )


def _loss(error: Callable[..., Any], network: Any, batch: Any, context: Any, held_out: Any) -> Any:
    """Gradients are those of the batch; individuals are scored on the held-out examples."""
    return error(network, batch if context.is_training else held_out)


def _adam(hyper: dict[str, Any]) -> optax.GradientTransformation:
    """Of the individual's hyper-parameters, so that no program contains a learning rate."""
    return optax.adam(hyper["learning_rate"])


def _sparse_adam(hyper: dict[str, Any]) -> optax.GradientTransformation:
    return sparse(_adam(hyper))
