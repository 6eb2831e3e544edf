"""Running an algorithm: the only place where gajax compiles.

Everything here also runs S seeds at once: give S keys, and a leading axis S to the population and
to what `Data` holds, of length 1 where all seeds share it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from gajax import sharding
from gajax.types import Algorithm, Data, Info, Params


@partial(jax.jit, static_argnames="algorithm")
def start(algorithm: Algorithm, key: Key[Array, "*S"], population: Params, data: Data) -> Any:
    """The algorithm's state before its first step."""
    # A copy, because jit would hand the population on as it is and `run` would then donate it.
    population = jax.tree.map(jnp.copy, population)

    def init(*arguments: Any) -> tuple[Any, None]:
        return algorithm.init(*arguments), None

    return _each_seed(init, key, population, data)[0]


@partial(jax.jit, static_argnames=("algorithm", "steps"), donate_argnames="state")
def run(
    algorithm: Algorithm, key: Key[Array, "*S"], state: Any, data: Data, *, steps: int = 1
) -> tuple[Any, Info]:
    """Take `steps` steps as one program; the infos are stacked on a leading axis.

    The memory of the given state is reused, so it must not be looked at again. Compiled once for
    each algorithm object, shape and number of steps.
    """

    def step(state: Any, _: None) -> tuple[Any, Info]:
        state, info = _each_seed(algorithm.step, key, state, data)
        return state, sharding.replicate(info)  # so that every host can look at it

    return lax.scan(step, state, None, length=steps)


def evolve(
    algorithm: Algorithm,
    key: Key[Array, "*S"],
    population: Params,
    data: Data,
    *,
    generations: int,
    after: tuple[Any, Info] | None = None,
) -> Iterator[tuple[Any, Info]]:
    """Yield `(state, info)` after every step until `generations` generations are done.

    The best individual of the last state stands first: `gajax.take(state.params, 0)`. Each state
    is gone once the next one is asked for. The algorithm's first generation is always done.

    `after` is what an earlier call with the same arguments has yielded, kept or read from a file
    (`yielded_like` says of what form it is): what follows is what followed there, to the bit.

    Within `jax.set_mesh(gajax.sharding.mesh())` the individuals are shared out to its devices; S
    seeds there go one after another, in runs of their own.
    """
    if key.ndim and sharding.device_count() > 1:
        raise ValueError("several seeds at once must be on one device, not in a mesh")
    split = jax.vmap(jax.random.split, out_axes=1) if key.ndim else jax.random.split
    key_start, key_run = split(key)
    if sharding.device_count() > 1:
        population, data = _share_out(population, data)
    if after is None:
        state, info = start(algorithm, key_start, population, data), None
    else:
        state, info = after
        if sharding.device_count() > 1:
            started = start.lower(algorithm, key_start, population, data).compile()
            state = jax.device_put(state, started.output_shardings)
    while info is None or not (info.done.all() and info.generation.min() >= generations):
        state, infos = run(algorithm, key_run, state, data)
        info = jax.tree.map(lambda leaf: leaf[0], jax.device_get(infos))
        yield state, info


def yielded_like(
    algorithm: Algorithm, key: Key[Array, "*S"], population: Params, data: Data
) -> tuple[Any, Info]:
    """What `evolve` yields with these arguments, as trees of `jax.ShapeDtypeStruct`."""
    state = jax.eval_shape(partial(start, algorithm), key, population, data)
    state, infos = jax.eval_shape(partial(run, algorithm), key, state, data)
    return state, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), infos)


@jax.jit
def _share_out(population: Params, data: Data) -> tuple[Params, Data]:
    """Compiled, because only a program takes the arrays of one host for those of many."""
    return sharding.place(population), sharding.replicate(data)


def _side_by_side() -> bool:
    """Whether seeds run at the same time: a CPU is as fast with one after another."""
    return jax.default_backend() != "cpu"


def _each_seed(
    function: Callable[..., tuple[Any, Any]], key: Key[Array, "*S"], tree: Any, data: Data
) -> tuple[Any, Any]:
    """`function(key, tree, data) -> (state, info)` of every seed, or as it is without an axis S."""
    if not key.ndim:
        return function(key, tree, data)
    leaves, structure = jax.tree.flatten(data)
    is_own = [len(leaf) > 1 for leaf in leaves]
    own = [leaf for leaf, alone in zip(leaves, is_own, strict=True) if alone]

    def one(key: Array, tree: Any, own: list[Array]) -> tuple[Any, Any]:
        rest = iter(own)
        every = [
            next(rest) if alone else leaf[0] for leaf, alone in zip(leaves, is_own, strict=True)
        ]
        return function(key, tree, jax.tree.unflatten(structure, every))

    if not _side_by_side():
        return lax.map(lambda seed: one(*seed), (key, tree, own))
    # The scalars of a state count its steps, so they are the same for all seeds. Kept as one, they
    # decide which branch of a condition is taken; mapped, every branch would be.
    tree = jax.tree.map(lambda leaf: leaf[0] if leaf.ndim == 1 else leaf, tree)
    axes = jax.tree.map(lambda leaf: 0 if leaf.ndim else None, tree)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), (key, tree, own)
    )
    state, _ = jax.eval_shape(one, *shapes)
    out_axes = jax.tree.map(lambda leaf: 0 if leaf.ndim else None, state)
    state, info = jax.vmap(one, (0, axes, 0), (out_axes, 0))(key, tree, own)
    return jax.tree.map(lambda leaf: leaf if leaf.ndim else jnp.tile(leaf, len(key)), state), info
