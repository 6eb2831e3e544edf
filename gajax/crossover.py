"""Crossover: two parents become two children, which between them keep every gene of both.

Each operator is `operator(key, first, second) -> (child of first, child of second)` on single
individuals; bind its rate with `functools.partial` and vmap it over pairs.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from gajax import population
from gajax.types import Params

_Rate = float | Float[Array, ""]


def uniform(
    key: Key[Array, ""], first: Params, second: Params, *, rate: _Rate = 0.5
) -> tuple[Params, Params]:
    """Swap every gene of the parents with probability `rate`, each gene by itself.

    A rate of 0.2 gives a first child that takes a gene from its mother with probability 0.8, as in
    the public code of David & Greental (arXiv 1711.07655).
    """

    def swapped(key: Key[Array, ""], leaf: Array) -> Array:
        return population.random_mask(key, rate, leaf.shape)

    return _exchange(population.map_with_key(key, swapped, first), first, second)


def one_point(key: Key[Array, ""], first: Params, second: Params) -> tuple[Params, Params]:
    """Swap all genes behind one random cut, in the order of the leaves and of each leaf's memory.

    The cut never falls outside the chromosome: each child has at least one gene of each parent,
    unless there is only one gene.
    """
    leaves, structure = jax.tree.flatten(first)
    cut = jax.random.randint(key, (), 1, max(2, population.genes(first)))
    masks, offset = [], 0
    for leaf in leaves:
        masks.append(jnp.arange(leaf.size).reshape(leaf.shape) + offset >= cut)
        offset += leaf.size
    return _exchange(jax.tree.unflatten(structure, masks), first, second)


def _exchange(masks: Params, first: Params, second: Params) -> tuple[Params, Params]:
    return (
        jax.tree.map(jnp.where, masks, second, first),
        jax.tree.map(jnp.where, masks, first, second),
    )
