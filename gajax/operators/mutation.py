"""Mutation: `operator(key, individual) -> individual` on one individual.

Bind rates with `functools.partial` and vmap over the population.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from gajax import bits
from gajax import individual as individuals
from gajax.individual import all_leaves, leaf_mask
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

    Example:
      >>> mutated = gajax.mutation.zero(jax.random.key(0), jnp.ones(1000), rate=0.1)
      >>> bool(0.85 < mutated.mean() < 0.95)
      True
    """
    leaves, structure = jax.tree.flatten(individual)
    mask = jax.tree.leaves(leaf_mask(individual, may_be_zero))
    chosen = [leaf for leaf, may in zip(leaves, mask, strict=True) if may]
    rate = 1 / individuals.genes(individual) if rate is None else rate
    positions = _random_positions(key, individuals.genes(chosen), rate)

    def mutate(genes: Array, positions: Array) -> Array:
        return genes.at[positions].set(0, mode="drop")

    mutated = iter(_at(positions, chosen, mutate))
    leaves = [next(mutated) if may else leaf for leaf, may in zip(leaves, mask, strict=True)]
    return jax.tree.unflatten(structure, leaves)


def polynomial(
    key: Key[Array, ""],
    individual: Params,
    *,
    rate: float | None = None,
    index: float = 20.0,
    width: int | float = 20.0,
    bound: int | float | None = None,
) -> Params:
    """Move each gene with probability `rate` by a share of `width`, mostly a small one.

    None is a rate of 1 / genes. The larger the distribution index, the smaller the moves; genes
    are cut off at plus and minus `bound`. With probability of about `rate**2 / 2` a gene moves
    twice. Draws only for the genes that change. Source: Deb & Goyal, "A combined genetic adaptive
    search (GeneAS) for engineering design", Computer Science and Informatics 26(4).

    Example:
      >>> moved = gajax.mutation.polynomial(jax.random.key(0), jnp.zeros(1000), rate=0.1, bound=1.0)
      >>> bool((jnp.abs(moved) <= 1).all()), bool((moved != 0).mean() < 0.15)
      (True, True)
    """
    key_genes, key_move = jax.random.split(key)
    count = individuals.genes(individual)
    positions = _random_positions(key_genes, count, 1 / count if rate is None else rate)
    uniform = jax.random.uniform(key_move, positions.shape)
    smaller = jnp.exp(jnp.log1p(-jnp.abs(2 * uniform - 1)) / (index + 1)) - 1
    move = width * jnp.where(uniform < 0.5, smaller, -smaller)

    def mutate(genes: Array, positions: Array) -> Array:
        moved = genes.at[positions].add(move.astype(genes.dtype), mode="drop")
        return moved if bound is None else jnp.clip(moved, -bound, bound)

    return _at(positions, individual, mutate)


def gaussian(
    key: Key[Array, ""], individual: Params, *, rate: _Rate, scale: float | Float[Array, ""]
) -> Params:
    """Add normal noise of standard deviation `scale` to each gene with probability `rate`.

    Example:
      >>> moved = gajax.mutation.gaussian(jax.random.key(0), jnp.zeros(10_000), rate=1.0, scale=0.5)
      >>> bool(abs(moved.std() - 0.5) < 0.02)
      True
    """

    def mutate(key: Key[Array, ""], leaf: Array) -> Array:
        key_choose, key_noise = jax.random.split(key)
        moved = leaf + (scale * bits.normal(key_noise, leaf.shape)).astype(leaf.dtype)
        if isinstance(rate, int | float) and rate >= 1:
            return moved
        return jnp.where(individuals.random_mask(key_choose, rate, leaf.shape), moved, leaf)

    return individuals.map_with_key(key, mutate, individual)


def scale(key: Key[Array, ""], hyper: Any, *, factor: float = 1.2) -> Any:
    """Multiply or divide each number by `factor`, each with probability 1/2.

    For hyper-parameters (population-based training: Jaderberg et al., arXiv 1711.09846).

    Example:
      >>> hyper = gajax.mutation.scale(jax.random.key(0), {"rate": jnp.float32(1)}, factor=2.0)
      >>> float(hyper["rate"]) in (0.5, 2.0)
      True
    """

    def mutate(key: Key[Array, ""], leaf: Array) -> Array:
        exponents = 2 * jax.random.bernoulli(key, shape=leaf.shape) - 1
        return (leaf * jnp.float32(factor) ** exponents).astype(leaf.dtype)

    return individuals.map_with_key(key, mutate, hyper)


def _random_positions(key: Key[Array, ""], genes: int, rate: float) -> Int[Array, " K"]:
    """Positions from 0 to below `genes` that are each chosen with probability `rate`.

    A Poisson number of positions, drawn with replacement, chooses each independently of the
    others. The rest of the numbers are `genes`.
    """
    if rate >= 1:
        return jnp.arange(genes)
    chances = jnp.asarray(_poisson_cumulative(-genes * math.log1p(-rate)), jnp.float32)
    words = bits.words(key, (1 + chances.size,))
    number = jnp.sum(chances <= words[0].astype(jnp.float32) * 2.0**-32)
    # Some genes are more likely than others by a share of genes / 2**32 at most.
    chosen = (words[1:] % genes).astype(jnp.int32)
    return jnp.where(jnp.arange(chances.size) < number, chosen, genes)


def _at(
    positions: Int[Array, " K"], tree: Params, mutate: Callable[[Array, Array], Array]
) -> Params:
    """`mutate(genes, positions)` of all leaves; those outside of `genes` are at its end."""
    parts, offset = [], 0
    for part in individuals.join(tree):
        inside = (positions >= offset) & (positions < offset + part.size)
        genes = mutate(part.reshape(-1), jnp.where(inside, positions - offset, part.size))
        parts.append(genes.reshape(part.shape))
        offset += part.size
    return individuals.split(parts, tree)


@cache
def _poisson_cumulative(expected: float) -> Float[np.ndarray, " K"]:
    """Chances of at most 0, 1, ... events; that there are more is less likely than 1e-9."""
    if expected == 0:
        return np.zeros(0)
    most = math.ceil(expected + 6 * math.sqrt(expected) + 10)
    numbers = np.arange(1, most)
    logarithms = numbers * math.log(expected) - np.cumsum(np.log(numbers))
    return np.cumsum(np.exp(np.concatenate([[0.0], logarithms]) - expected))
