"""Generations whose losses come from outside, such as from a simulator or a device."""

from typing import Any

import jax
import jax.numpy as jnp

from gajax import evaluation, loop, programs
from gajax import population as populations
from gajax.context import Measured
from gajax.types import Algorithm, Data, Position, Stage, as_key


def ask(
    algorithm: Algorithm, key: Any, state: Any, position: Position, data: Data = loop.NO_DATA
) -> tuple[Any, Any, Position]:
    """Go on from a state until losses are needed: `(state, population, position)`.

    The losses of the population, [P], are those to give to `tell`, with this state and position.
    Both functions take the arguments of `evolve`, begin with `gajax.start` and `Position(0)`, and
    give the generations that `evolve` does where the losses are those that it would compute. An
    algorithm asks once in a generation, and `nsga2` and `gemonn` once more for the parents, unless
    these keep their losses with `stale_parents`.

    Raises:
      ValueError: for an algorithm that takes no losses from outside, or has ended.

    Example:
      >>> algorithm = gajax.ga(None, survivors=2, batch_size=1, mutation=lambda key, genes: genes)
      >>> population = gajax.init(0, lambda key: jax.random.normal(key, (3,)), size=6)
      >>> state, position = gajax.start(algorithm, 1, population), gajax.Position(0)
      >>> state, asked, position = gajax.ask(algorithm, 1, state, position)
      >>> asked.shape, position
      ((6, 3), Position(generation=0, stage=0, turn=0))
    """
    stages, data = _stages(algorithm, state, position, data), loop.with_key(data)
    state = loop.copy(algorithm.arrange(state))
    for index in range(position.stage, len(stages)):
        outside = stages[index].outside
        if outside is None or outside.also_runs:
            state = _run(stages, index, key, state, data, position)
        if outside is not None:
            return state, outside.population(state), Position(position.generation, index)
    raise ValueError("the algorithm must rank by losses, and this one takes none from outside")


def tell(
    algorithm: Algorithm,
    key: Any,
    state: Any,
    position: Position,
    loss: Any,
    data: Data = loop.NO_DATA,
) -> tuple[Any, Position]:
    """Go on with the losses [P] of the population that `ask` gave: `(state, position)`.

    Losses that are not finite are those of individuals that have failed. `position.generation` is
    one more once a generation has ended.

    Raises:
      ValueError: where `ask` did not give this position, or there is not a loss for each.

    Example:
      >>> algorithm = gajax.ga(None, survivors=2, batch_size=1, mutation=lambda key, genes: genes)
      >>> population = jnp.arange(6.0)[:, None]
      >>> state, position = gajax.start(algorithm, 1, population), gajax.Position(0)
      >>> state, asked, position = gajax.ask(algorithm, 1, state, position)
      >>> losses = [float((genes[0] - 2) ** 2) for genes in asked]
      >>> state, position = gajax.tell(algorithm, 1, state, position, losses)
      >>> gajax.best(state), position.generation
      (Array([2.], dtype=float32), 1)
    """
    stages, data = _stages(algorithm, state, position, data), loop.with_key(data)
    outside = stages[position.stage].outside if position.stage < len(stages) else None
    if outside is None:
        raise ValueError(f"the position must be one that ask gave, not {position}")
    population = outside.population(state)
    size = populations.size(population)
    loss = jnp.asarray(loss, float)
    if loss.shape != (size,):
        raise ValueError(f"loss must have the shape ({size},), not {loss.shape}")
    measured = jax.vmap(evaluation.of_finite)(population, Measured(loss, {}))
    state = algorithm.arrange(outside.record(loop.copy(state), measured.loss))
    for index in range(position.stage + 1, len(stages)):
        if stages[index].outside is not None:
            return state, Position(position.generation, index)
        state = _run(stages, index, key, state, data, position)
    return state, Position(position.generation + 1)


def _stages(algorithm: Algorithm, state: Any, position: Position, data: Data) -> tuple[Stage, ...]:
    sizes = populations.size(state.params), populations.size(data.examples)
    stages = algorithm.stages(*sizes)(position.generation)
    if not stages:
        raise ValueError(f"the algorithm has no generation {position.generation}")
    return stages


def _run(stages: tuple[Stage, ...], index: int, key: Any, state: Any, data: Data, position) -> Any:
    run, cost, turns = stages[index].run, stages[index].cost, stages[index].turns
    setting = (run, cost), index, as_key(key), state, data, position.generation
    return programs.piece(*setting, 0, turns)[0]
