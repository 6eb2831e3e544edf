"""One function for several seeds at once."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from gajax.types import Data


def _side_by_side() -> bool:
    """Whether seeds run at the same time: a CPU is as fast with one after another."""
    return jax.default_backend() != "cpu"


def for_each_seed(
    function: Callable[..., Any], key: Key[Array, "*S"], tree: Any, data: Data
) -> Any:
    """`function(key, tree, data)` of every seed, or as it is without an axis S."""
    if not key.ndim:
        return function(key, tree, data)

    def one(arguments: tuple[Array, Array, Any]) -> Any:
        seed, key, tree = arguments
        # Not `leaf[seed % len(leaf)]`, which under vmap would copy what the seeds share.
        own = jax.tree.map(lambda leaf: leaf[seed if len(leaf) > 1 else 0], data)
        return function(key, tree, own)

    run = jax.vmap(one) if _side_by_side() else partial(lax.map, one)
    return run((jnp.arange(len(key)), key, tree))
