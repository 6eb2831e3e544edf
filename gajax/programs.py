"""What is compiled: the start of a run, a piece of a stage, and whole generations.

No other module of `gajax` compiles.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Key

from gajax import sharding
from gajax.seeds import for_each_seed
from gajax.types import Algorithm, Data, Params, Stage

MOST_GENERATIONS = 2**31 - 1


class Report(NamedTuple):
    """What a program returns beside the state; the costs are those that `Stage.cost` counts."""

    loss: Any
    metrics: Any
    failed: Any
    costs: Any  # [*S, 3]: gradient examples, forward examples, sequential steps


@partial(jax.jit, static_argnames="algorithm")
def start(algorithm: Algorithm, key: Key[Array, "*S"], population: Params, data: Data) -> Any:
    """The algorithm's state before its first generation, of one seed or of each."""
    # A copy, because jit would return the population itself, which the first piece donates.
    population = jax.tree.map(jnp.copy, population)

    def init(key: Array, population: Params, data: Data) -> Any:
        # The keys of generations are folded in from 0 on.
        return algorithm.init(jax.random.fold_in(key, MOST_GENERATIONS), population, data)

    return for_each_seed(init, key, population, data)


@partial(jax.jit, static_argnames=("stages", "count"), donate_argnames="state")
def run_generations(
    stages: tuple[Stage, ...],
    key: Key[Array, "*S"],
    state: Any,
    data: Data,
    first: int | Int[Array, ""],
    *,
    count: int = 1,
) -> tuple[Any, Any]:
    """Run `count` generations of the same stages, from number `first` on, as one program.

    The memory of the state is reused. Returns the state, and the losses, failures and examples that
    `evolve` makes its infos of.

    Example:
      >>> loss_fn = lambda params, batch: (batch @ params).mean()
      >>> algorithm = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=4)
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=jax.random.key(0))
      >>> state = gajax.start(algorithm, 0, jnp.ones((3, 2)), data)
      >>> stages = algorithm.stages(3, 8)(1)
      >>> state, report = gajax.run_generations(stages, jax.random.key(0), state, data, 1, count=2)
      >>> report.loss.shape
      (3,)
    """
    parts = tuple(
        (index, stage.run, stage.cost, 0, stage.turns) for index, stage in enumerate(stages)
    )

    def one(carry, generation):
        state, before = carry
        state, report = _run(parts, key, state, data, generation)
        return (state, report._replace(costs=report.costs + before.costs)), None

    costs = jnp.zeros((*key.shape, 3), jnp.int32)
    nothing = _report(state, costs)
    return lax.scan(one, (state, nothing), first + jnp.arange(count))[0]


@partial(jax.jit, static_argnames="programs", donate_argnames="state")
def piece(programs, index, key, state, data, generation, start, stop):
    """Do the turns `start` to `stop` of a stage, given by its functions and its index."""
    return _run(((index, *programs, start, stop),), key, state, data, generation)


def _report(state: Any, costs: Array) -> Report:
    return Report(state.loss, getattr(state, "metrics", {}), state.failed, costs)


def _run(parts, key, state, data, generation) -> tuple[Any, Report]:
    """Run stages or parts of them for one seed, or for each."""

    def one(key: Array, state: Any, data: Data) -> tuple[Any, Report]:
        key = jax.random.fold_in(key, generation)
        costs = jnp.zeros(3, jnp.int32)
        for index, run, cost, start, stop in parts:
            if cost:
                costs += jnp.stack([*cost(state, generation, start, stop), 0]).astype(jnp.int32)
            key_stage = jax.random.fold_in(key, index)
            state = run(key_stage, state, data, generation, start, stop)
        return state, _report(state, costs)

    state, report = for_each_seed(one, key, state, data)
    return state, sharding.replicate(report)  # so that every host can read it


@jax.jit
def share_out(population: Params, data: Data) -> tuple[Params, Data]:
    """Population and data on the devices of the mesh.

    Compiled, because only a program takes the arrays of one host for those of many.
    """
    return sharding.place(population), sharding.replicate(data)
