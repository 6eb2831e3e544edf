"""Networks that compute in fewer bits than they are kept in."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from optax.tree_utils import tree_cast


def with_precision(precision: str, function: Callable[..., Any]) -> Callable[..., Array]:
    """The function with its arguments, trees of floats, in the precision, its result in float32.

    Gradients have the type of what was given, and XLA sums products of bfloat16 in float32.
    """

    def computed(*trees: Any) -> Array:
        lower: Any = tree_cast(trees, precision)
        return function(*lower).astype(jnp.float32)

    return computed
