"""Several seeds at once: the axis S of `gajax.evolve`, made and taken apart.

Everything here leaves what has no such axis as it is, so that one seed by itself costs no more.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from gajax import take


def keys(seeds: Sequence[int]) -> Key[Array, "*S"]:
    """The key of each seed; without an axis S where there is only one."""
    single = [jax.random.key(seed) for seed in seeds]
    if len(single) == 1:
        return single[0]
    # The checker of keys takes those that were stacked as they are for used ones.
    return jax.random.wrap_key_data(jnp.stack([jax.random.key_data(key) for key in single]))


def split(key: Key[Array, "*S"], number: int = 2) -> Key[Array, "K ..."]:
    """So many keys of each seed."""
    if not key.ndim:
        return jax.random.split(key, number)
    return jax.vmap(partial(jax.random.split, num=number), out_axes=1)(key)


def fold_in(key: Key[Array, "*S"], number: int) -> Key[Array, "*S"]:
    """The key of that number of each seed."""
    if not key.ndim:
        return jax.random.fold_in(key, number)
    return jax.vmap(jax.random.fold_in, (0, None))(key, number)


def map_seeds(key: Key[Array, "*S"], function: Callable[..., Any], *trees: Any) -> Any:
    """`function(*trees)` of each seed, one after another; a leaf of length 1 belongs to all."""
    if not key.ndim:
        return function(*trees)

    def of(seed: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[seed % len(leaf)], trees)

    results = [function(*of(seed)) for seed in range(len(key))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def indices(key: Key[Array, "*S"]) -> list[int | None]:
    """Where each seed stands on the axis; None where there is no axis."""
    return [*range(len(key))] if key.ndim else [None]


def take_seed(tree: Any, seed: int | None) -> Any:
    """What belongs to the seed at that place."""
    return tree if seed is None else take(tree, seed)


def broadcast(key: Key[Array, "*S"], tree: Any) -> Any:
    """What all seeds share, with their axis."""
    return jax.tree.map(lambda leaf: leaf[None], tree) if key.ndim else tree
