"""Mixed precision."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from optax.tree_utils import tree_cast


def with_precision(precision: str, function: Callable[..., Any]) -> Callable[..., Array]:
    """Cast the arguments, trees of floats, to the precision, and the result to float32.

    Gradients have the dtypes of the original arguments; XLA accumulates products of bfloat16 in
    float32.
    """

    def computed(*trees: Any) -> Array:
        lower: Any = tree_cast(trees, precision)
        return function(*lower).astype(jnp.float32)

    return computed
