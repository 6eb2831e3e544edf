"""Mutation: `operator(key, individual) -> individual` on one individual.

Bind rates with `functools.partial` and vmap over the population.
"""

import math
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from gajax import bits, population
from gajax.population import all_leaves, leaf_mask
from gajax.types import LeafPredicate, Params

_Rate = float | Float[Array, ""]


def zero(
    key: Key[Array, ""],
    individual: Params,
    *,
    rate: float | None = None,
    may_be_zero: LeafPredicate = all_leaves,
) -> Params:
    """Set each gene to zero with probability `rate` (David & Greental, arXiv 1711.07655).

    None is a rate of 1 / genes. Only in leaves that may become zero. Draws about as many random
    numbers as genes change, not one for each gene.
    """

    def mutate(leaf: Array, positions: Array) -> Array:
        return leaf.reshape(-1).at[positions].set(0, mode="drop").reshape(leaf.shape)

    return _at(_random_positions(key, individual, rate), individual, mutate, may_be_zero)


def polynomial(
    key: Key[Array, ""],
    individual: Params,
    *,
    rate: float | None = None,
    index: float = 20.0,
    bound: float = 10.0,
) -> Params:
    """Move each gene with probability `rate` by a share of `2 * bound`, mostly a small one.

    None is a rate of 1 / genes. The larger the distribution index, the smaller the moves; genes
    are cut off at +-`bound`. With probability of about `rate**2 / 2` a gene moves twice. Draws only
    for the genes that change. Source: Deb & Goyal, "A combined genetic adaptive search
    (GeneAS) for engineering design", Computer Science and Informatics 26(4).
    """
    key_genes, key_move = jax.random.split(key)
    positions = _random_positions(key_genes, individual, rate)
    uniform = jax.random.uniform(key_move, positions.shape)
    smaller = jnp.exp(jnp.log1p(-jnp.abs(2 * uniform - 1)) / (index + 1)) - 1
    move = 2 * bound * jnp.where(uniform < 0.5, smaller, -smaller)

    def mutate(leaf: Array, positions: Array) -> Array:
        genes = leaf.reshape(-1)
        genes = genes.at[positions].add(move.astype(leaf.dtype), mode="drop")
        return jnp.clip(genes, -bound, bound).reshape(leaf.shape)

    return _at(positions, individual, mutate, all_leaves)


def gaussian(
    key: Key[Array, ""], individual: Params, *, rate: _Rate, scale: float | Float[Array, ""]
) -> Params:
    """Add normal noise of standard deviation `scale` to each gene with probability `rate`."""

    def mutate(key: Key[Array, ""], leaf: Array) -> Array:
        key_choose, key_noise = jax.random.split(key)
        moved = leaf + (scale * bits.normal(key_noise, leaf.shape)).astype(leaf.dtype)
        if isinstance(rate, int | float) and rate >= 1:
            return moved
        return jnp.where(population.random_mask(key_choose, rate, leaf.shape), moved, leaf)

    return population.map_with_key(key, mutate, individual)


def _random_positions(
    key: Key[Array, ""], individual: Params, rate: float | None
) -> Int[Array, " K"]:
    """Positions of genes, counted through all leaves, that are each chosen with probability `rate`.

    A Poisson number of positions, drawn with replacement, chooses every gene independently of the
    others. The rest of the positions are behind the last gene.
    """
    count = population.genes(individual)
    rate = 1 / count if rate is None else rate
    if rate >= 1:
        return jnp.arange(count)
    chances = jnp.asarray(_poisson_cumulative(-count * math.log1p(-rate)), jnp.float32)
    words = bits.words(key, (1 + chances.size,))
    number = jnp.sum(chances <= words[0].astype(jnp.float32) * 2.0**-32)
    # Some genes are more likely than others by a share of count / 2**32 at most.
    chosen = (words[1:] % count).astype(jnp.int32)
    return jnp.where(jnp.arange(chances.size) < number, chosen, count)


def _at(
    positions: Int[Array, " K"],
    individual: Params,
    mutate: Callable[[Array, Array], Array],
    may_change: LeafPredicate,
) -> Params:
    """`mutate(leaf, positions)` of the leaves that may change; those outside it are at its end."""
    mask = jax.tree.leaves(leaf_mask(individual, may_change))
    offset, leaves = 0, []
    for leaf, may in zip(jax.tree.leaves(individual), mask, strict=True):
        inside = (positions >= offset) & (positions < offset + leaf.size)
        if may:
            leaf = mutate(leaf, jnp.where(inside, positions - offset, leaf.size))
        leaves.append(leaf)
        offset += leaf.size
    return jax.tree.unflatten(jax.tree.structure(individual), leaves)


@cache
def _poisson_cumulative(expected: float) -> Float[np.ndarray, " K"]:
    """Chances of at most 0, 1, ... events; that there are more is less likely than 1e-9."""
    if expected == 0:
        return np.zeros(0)
    most = math.ceil(expected + 6 * math.sqrt(expected) + 10)
    numbers = np.arange(1, most)
    logarithms = numbers * math.log(expected) - np.cumsum(np.log(numbers))
    return np.cumsum(np.exp(np.concatenate([[0.0], logarithms]) - expected))
