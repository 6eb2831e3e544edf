"""The axis S of `gajax.evolve` for several seeds.

For a single seed there is no such axis, and the functions leave arrays unchanged.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from gajax import take


def keys(seeds: Sequence[int]) -> Key[Array, "*S"]:
    """The key of each seed; a single seed has no axis S."""
    single = [jax.random.key(seed) for seed in seeds]
    if len(single) == 1:
        return single[0]
    # JAX's key reuse checker would consider directly stacked keys as used.
    return jax.random.wrap_key_data(jnp.stack([jax.random.key_data(key) for key in single]))


def split(key: Key[Array, "*S"], number: int = 2) -> Key[Array, "K ..."]:
    """Split the key of each seed."""
    if not key.ndim:
        return jax.random.split(key, number)
    return jax.vmap(partial(jax.random.split, num=number), out_axes=1)(key)


def fold_in(key: Key[Array, "*S"], number: int) -> Key[Array, "*S"]:
    """Fold the number into the key of each seed."""
    if not key.ndim:
        return jax.random.fold_in(key, number)
    return jax.vmap(jax.random.fold_in, (0, None))(key, number)


def map_seeds(key: Key[Array, "*S"], function: Callable[..., Any], *trees: Any) -> Any:
    """Call `function(*trees)` for each seed in turn; leaves of length 1 are shared."""
    if not key.ndim:
        return function(*trees)

    def take_trees(seed: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[seed % len(leaf)], trees)

    results = [function(*take_trees(seed)) for seed in range(len(key))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def indices(key: Key[Array, "*S"]) -> list[int | None]:
    """The index of each seed on the axis; None without an axis."""
    return [*range(len(key))] if key.ndim else [None]


def take_seed(tree: Any, seed: int | None) -> Any:
    """The tree of the seed at this index."""
    return tree if seed is None else take(tree, seed)


def broadcast(key: Key[Array, "*S"], tree: Any) -> Any:
    """Add an axis S of length 1, shared by all seeds."""
    return jax.tree.map(lambda leaf: leaf[None], tree) if key.ndim else tree
