"""Mutation: `operator(key, individual) -> individual` on one individual.

Bind rates with `functools.partial` and vmap over the population.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from gajax import bits, population
from gajax.population import every_leaf, leaf_mask
from gajax.types import LeafPredicate, Params

_Rate = float | Float[Array, ""]


def zero(
    key: Key[Array, ""],
    individual: Params,
    *,
    rate: float,
    may_be_zero: LeafPredicate = every_leaf,
) -> Params:
    """Set each gene to zero with probability `rate` (David & Greental, arXiv 1711.07655).

    Only in leaves that may become zero. Draws as many random numbers as genes are expected to
    change, and some more, not one for each gene.
    """

    def mutate(leaf: Array, positions: Array) -> Array:
        return leaf.reshape(-1).at[positions].set(0, mode="drop").reshape(leaf.shape)

    return _at_random_genes(key, individual, rate, mutate, may_be_zero)


def polynomial(
    key: Key[Array, ""],
    individual: Params,
    *,
    rate: float,
    index: float = 20.0,
    bound: float = 10.0,
) -> Params:
    """Move each gene with probability `rate` by a share of `2 * bound`, mostly a small one.

    The larger the distribution index, the smaller the moves; genes are cut off at +-`bound`.
    Draws only for the genes that change. Source: Deb & Goyal, "A combined genetic adaptive search
    (GeneAS) for engineering design", Computer Science and Informatics 26(4).
    """
    key_genes, key_move = jax.random.split(key)
    uniform = jax.random.uniform(key_move, (_draws(population.genes(individual), rate),))
    smaller = jnp.exp(jnp.log1p(-jnp.abs(2 * uniform - 1)) / (index + 1)) - 1
    move = 2 * bound * jnp.where(uniform < 0.5, smaller, -smaller)

    def mutate(leaf: Array, positions: Array) -> Array:
        genes = leaf.reshape(-1)
        genes = genes.at[positions].add(move.astype(leaf.dtype), mode="drop")
        return jnp.clip(genes, -bound, bound).reshape(leaf.shape)

    return _at_random_genes(key_genes, individual, rate, mutate, every_leaf)


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


def _at_random_genes(
    key: Key[Array, ""],
    individual: Params,
    rate: float,
    mutate: Callable[[Array, Array], Array],
    may_change: LeafPredicate,
) -> Params:
    """`mutate(leaf, positions)` at genes that are each chosen with probability `rate`.

    The gaps between chosen genes have a geometric distribution, so that is what is drawn.
    Positions behind the end of a leaf, or before its start, stand for no gene.
    """
    count = population.genes(individual)
    uniform = jax.random.uniform(key, (_draws(count, rate),), minval=jnp.finfo(jnp.float32).tiny)
    gaps = jnp.log(uniform) / math.log1p(-rate) if 0 < rate < 1 else jnp.full_like(uniform, 0)
    gaps = jnp.minimum(jnp.floor(gaps), count).astype(jnp.int32) + 1
    # The sum stops behind the last gene, for many large gaps would overflow.
    chosen = lax.associative_scan(lambda a, b: jnp.minimum(a + b, count + 1), gaps) - 1
    mask = jax.tree.leaves(leaf_mask(individual, may_change))
    offset, leaves = 0, []
    for leaf, may in zip(jax.tree.leaves(individual), mask, strict=True):
        inside = (chosen >= offset) & (chosen < offset + leaf.size)
        if may:
            leaf = mutate(leaf, jnp.where(inside, chosen - offset, leaf.size))
        leaves.append(leaf)
        offset += leaf.size
    return jax.tree.unflatten(jax.tree.structure(individual), leaves)


def _draws(genes: int, rate: float) -> int:
    """How many genes change at most; that it were more is less likely than one in a billion."""
    expected = genes * rate
    return min(genes, math.ceil(expected + 6 * math.sqrt(expected) + 10)) if rate > 0 else 0
