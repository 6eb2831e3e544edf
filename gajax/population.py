"""The population: one tree of arrays whose leaves all carry the leading axis P."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from gajax.types import Params


def init(key: Key[Array, ""], init_fn: Callable[[Key[Array, ""]], Params], size: int) -> Params:
    """Draw `size` individuals from `init_fn(key) -> params` and stack them."""
    return jax.vmap(init_fn)(jax.random.split(key, size))


def size(population: Params) -> int:
    """Number of individuals; ValueError where the leaves disagree about it or there are none."""
    leaves: list[Array] = jax.tree.leaves(population)
    sizes = {leaf.shape[:1] for leaf in leaves}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"the leaves must share one leading axis, not {sizes or 'none'}")
    return leaves[0].shape[0]


def genes(individual: Params) -> int:
    """Number of genes of one individual, biases included."""
    return sum(leaf.size for leaf in jax.tree.leaves(individual))


def take(population: Any, indices: int | Int[Array, "*K"] | slice) -> Any:
    """The individuals at `indices`, in that order."""
    return jax.tree.map(lambda leaf: leaf[indices], population)


def concatenate(*populations: Any) -> Any:
    """One population of all the individuals, in the order given."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *populations)


def map_with_key(key: Key[Array, ""], function: Callable[..., Any], *trees: Params) -> Any:
    """`function(key, *leaves)` on every leaf, each with a key of its own."""
    structure = jax.tree.structure(trees[0])
    keys = jax.tree.unflatten(structure, list(jax.random.split(key, structure.num_leaves)))
    return jax.tree.map(function, keys, *trees)


def density(population: Params) -> Float[Array, " P"]:
    """Share of the genes of each individual that are not zero, biases included."""
    leaves = jax.tree.leaves(population)
    nonzero = [jnp.sum((leaf != 0).reshape(leaf.shape[0], -1), axis=1) for leaf in leaves]
    return jnp.sum(jnp.stack(nonzero), axis=0) / sum(leaf[0].size for leaf in leaves)


def random_mask(
    key: Key[Array, ""], rate: float | Float[Array, ""], shape: tuple[int, ...]
) -> Bool[Array, "..."]:
    """True with probability `rate`, exact to 1/65536, from 16 random bits an element."""
    bits = jax.random.bits(key, shape, jnp.uint16)
    return bits < jnp.round(jnp.asarray(rate, jnp.float32) * 65536).astype(jnp.uint32)
