"""Running an algorithm: the only place where gajax compiles."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from gajax import sharding
from gajax.types import Algorithm, Data, Info, Params


@partial(jax.jit, static_argnames="algorithm")
def start(algorithm: Algorithm, key: Key[Array, ""], population: Params, data: Data) -> Any:
    """The algorithm's state before its first step."""
    # A copy, because jit would hand the population on as it is and `run` would then donate it.
    return algorithm.init(key, jax.tree.map(jnp.copy, population), data)


@partial(jax.jit, static_argnames=("algorithm", "steps"), donate_argnames="state")
def run(
    algorithm: Algorithm, key: Key[Array, ""], state: Any, data: Data, *, steps: int = 1
) -> tuple[Any, Info]:
    """Take `steps` steps as one program; the infos are stacked on a leading axis.

    The memory of the given state is reused, so it must not be looked at again. Compiled once for
    each algorithm object, shape and number of steps.
    """

    def step(state: Any, _: None) -> tuple[Any, Info]:
        state, info = algorithm.step(key, state, data)
        return state, sharding.replicate(info)  # so that every host can look at it

    return lax.scan(step, state, None, length=steps)


def evolve(
    algorithm: Algorithm,
    key: Key[Array, ""],
    population: Params,
    data: Data,
    *,
    generations: int,
) -> Iterator[tuple[Any, Info]]:
    """Yield `(state, info)` after every step until `generations` generations are done.

    The best individual of the last state stands first: `gajax.take(state.params, 0)`. Each state
    is gone once the next one is asked for. The algorithm's first generation is always done.
    Within `jax.set_mesh(gajax.sharding.mesh())` the individuals are shared out to its devices.
    """
    key_start, key_run = jax.random.split(key)
    population, data = sharding.place(population), sharding.replicate(data)
    state = start(algorithm, key_start, population, data)
    while True:
        state, infos = run(algorithm, key_run, state, data)
        info = jax.tree.map(lambda leaf: leaf[0], jax.device_get(infos))
        yield state, info
        if info.done and info.generation >= generations:
            return
