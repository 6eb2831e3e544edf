"""Mutation: `operator(key, individual) -> individual` on one individual.

Bind rates with `functools.partial` and vmap over the population.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from gajax import population
from gajax.types import Params

_Rate = float | Float[Array, ""]


def zero(key: Key[Array, ""], individual: Params, *, rate: _Rate) -> Params:
    """Set each gene to zero with probability `rate` (David & Greental, arXiv 1711.07655)."""

    def mutate(key: Key[Array, ""], leaf: Array) -> Array:
        chosen = population.random_mask(key, rate, leaf.shape)
        return jnp.where(chosen, jnp.zeros((), leaf.dtype), leaf)

    return population.map_with_key(key, mutate, individual)


def gaussian(
    key: Key[Array, ""], individual: Params, *, rate: _Rate, scale: float | Float[Array, ""]
) -> Params:
    """Add normal noise of standard deviation `scale` to each gene with probability `rate`."""

    def mutate(key: Key[Array, ""], leaf: Array) -> Array:
        key_choose, key_noise = jax.random.split(key)
        noise = scale * jax.random.normal(key_noise, leaf.shape, leaf.dtype)
        chosen = population.random_mask(key_choose, rate, leaf.shape)
        return jnp.where(chosen, leaf + noise, leaf)

    return population.map_with_key(key, mutate, individual)
