"""The population: one tree of arrays whose leaves all carry the leading axis P."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from gajax import individual, sharding
from gajax.individual import (
    all_leaves,
    genes,
    genes_of,
    leaf_mask,
    map_with_key,
    random_masks,
    with_genes,
)
from gajax.sparsity import highest
from gajax.types import LeafPredicate, Params, as_key, require_at_least


def linear_densities(size: int) -> Float[Array, " P"]:
    """Densities spread evenly from 1/P to 1 (Yang et al., IEEE TNNLS 33(9)).

    Example:
      >>> gajax.linear_densities(4)
      Array([0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    return jnp.arange(1, size + 1) / size


def init(
    key: Any,
    init_fn: Callable[[Key[Array, ""]], Any],
    size: int,
    *,
    densities: Float[Array, " P"] | None = None,
    may_be_zero: LeafPredicate = all_leaves,
) -> Params:
    """Draw `size` individuals by `init_fn(key)`, each a tree of genes or an `Individual`, stacked.

    With `densities`, such as `linear_densities(size)`, individual i keeps each gene that may become
    zero with probability `densities[i]`; the others are zero.

    Example:
      >>> init_fn = lambda key: {"kernel": jax.random.normal(key, (4, 2)), "bias": jnp.zeros(2)}
      >>> population = gajax.init(0, init_fn, size=3)
      >>> jax.tree.map(jnp.shape, population)
      {'bias': (3, 2), 'kernel': (3, 4, 2)}
      >>> sparse = gajax.init(0, init_fn, 3, densities=jnp.array([0.0, 0.5, 1.0]))
      >>> gajax.density(sparse).tolist()[0]
      0.0
    """
    key = as_key(key)
    if densities is None:
        return map_individuals(init_fn, jax.random.split(key, size))
    densities = _one_for_each(densities, size)
    key_init, key_keep = jax.random.split(key)

    def draw(individual: tuple[Key[Array, ""], Key[Array, ""], Array]) -> Params:
        key_init, key_keep, density = individual
        drawn = init_fn(key_init)
        params = genes_of(drawn)

        def keep(leaf: Array, mask: Array, may: bool) -> Array:
            return jnp.where(mask, leaf, jnp.zeros_like(leaf)) if may else leaf

        masks = random_masks(key_keep, density, params)
        kept = jax.tree.map(keep, params, masks, leaf_mask(params, may_be_zero))
        return with_genes(drawn, kept)

    keys = jax.random.split(key_init, size), jax.random.split(key_keep, size)
    return map_individuals(draw, (*keys, densities))


def sparse_copies(
    key: Any,
    params: Any,
    size: int,
    *,
    densities: Float[Array, " P"] | None = None,
    noise: float = 0.01,
    may_be_zero: LeafPredicate = all_leaves,
) -> Params:
    """A population of sparser copies of one trained network, to evolve its front from there.

    Individual i keeps of the genes that may become zero the share `densities[i]` (None:
    `linear_densities`) of largest magnitude. Where that is all of them, it is the network itself;
    the genes of all others get normal noise of `noise` times the root mean square of their leaf's,
    so that they differ in more than their zeros.

    Example:
      >>> network = jnp.arange(1.0, 9.0)
      >>> densities = jnp.array([0.25, 1.0])
      >>> gajax.sparse_copies(0, network, 2, densities=densities, noise=0.0)
      Array([[0., 0., 0., 0., 0., 0., 7., 8.],
             [1., 2., 3., 4., 5., 6., 7., 8.]], dtype=float32)
    """
    densities = _one_for_each(densities if densities is not None else linear_densities(size), size)
    source, params = params, genes_of(params)
    mask = leaf_mask(params, may_be_zero)
    sizes = jax.tree.map(lambda leaf, may: may * leaf.size, params, mask)
    weights = sum(jax.tree.leaves(sizes))
    fixed = genes(params) - weights
    scores = jax.tree.map(lambda leaf, may: jnp.where(may, jnp.abs(leaf), jnp.inf), params, mask)

    def copy(individual: tuple[Key[Array, ""], Array]) -> Params:
        key, density = individual
        kept = highest(scores, fixed + jnp.round(density * weights).astype(jnp.int32))
        scale = jnp.where(density < 1, noise, 0)

        def change(key: Array, leaf: Array, is_kept: Array) -> Array:
            noise = jax.random.normal(key, leaf.shape, leaf.dtype)
            moved = leaf + scale * jnp.sqrt(jnp.mean(leaf**2)) * noise
            return jnp.where(is_kept & (leaf != 0), moved.astype(leaf.dtype), 0)

        return with_genes(source, map_with_key(key, change, params, kept))

    return map_individuals(copy, (jax.random.split(as_key(key), size), densities))


def default_chunk_size(genes: int, count: int) -> int:
    """How many of `count` individuals with so many genes run side by side by default.

    A CPU is fastest while the weights at work stay in its nearest cache and every core works on the
    same matrix product; a population that fits the next cache is not cut, as a loop over chunks
    takes time to compile. A GPU or TPU wants large products, but no more than fill it, so that what
    they need on the way stays small beside a large population. Where a divisor of the count is near
    that size it is taken, for a last smaller chunk would be compiled apart.

    Example:
      >>> gajax.population.default_chunk_size(genes=100, count=8)
      8
    """
    at_once, whole = (2**15, 2**17) if jax.default_backend() == "cpu" else (2**27, 2**27)
    if genes * count <= whole:
        return max(1, count)
    wanted = max(1, at_once // max(1, genes))
    if wanted == 1 or wanted >= count:
        return wanted
    near = range(wanted // 2 + 1, min(count, 2 * wanted) + 1)
    divisors = [size for size in near if count % size == 0]
    return min(divisors, key=lambda size: abs(size - wanted), default=wanted)


def map_individuals(
    function: Callable[..., Any],
    individuals: Any,
    *common: Any,
    chunk_size: int | None = None,
) -> Any:
    """`function(individual, *common)` of each, `chunk_size` side by side (None: the default).

    Within a mesh every device does so with its own individuals; what all of them need, such as a
    batch, must come as `common` there, not by closing over it.

    Example:
      >>> gajax.population.map_individuals(jnp.sum, jnp.ones((3, 2)), chunk_size=2)
      Array([2., 2., 2.], dtype=float32)
    """
    require_at_least(1, chunk_size=chunk_size)

    def in_chunks(individuals: Any, *common: Any) -> Any:
        def one(individual: Any) -> Any:
            return function(individual, *common)

        count = size(individuals)
        chunk = chunk_size or default_chunk_size(genes(individuals) // max(1, count), count)
        if chunk == 1:  # even where there is but one, so that devices do not change its numbers
            return lax.map(one, individuals)
        if chunk >= count:
            return jax.vmap(one)(individuals)
        return lax.map(one, individuals, batch_size=chunk)

    return sharding.on_shards(in_chunks, individuals, common=common)


def size(population: PyTree, axis: int = 0) -> int:
    """Number of individuals; ValueError where the leaves disagree about it or there are none.

    Example:
      >>> gajax.size({"kernel": jnp.ones((5, 2)), "bias": jnp.zeros(5)})
      5
    """
    sizes = {leaf.shape[axis : axis + 1] for leaf in jax.tree.leaves(population)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"the leaves must share one leading axis, not {sizes or 'none'}")
    return sizes.pop()[0]


def take(population: Any, indices: int | Int[Array, "*K"] | slice) -> Any:
    """The individuals at `indices`, in that order.

    Example:
      >>> gajax.take({"bias": jnp.arange(3.0)}, 1)
      {'bias': Array(1., dtype=float32)}
      >>> gajax.take({"bias": jnp.arange(3.0)}, jnp.array([2, 0]))
      {'bias': Array([2., 0.], dtype=float32)}
    """
    return jax.tree.map(lambda leaf: leaf[indices], population)


def concatenate(*populations: Any) -> Any:
    """One population of all the individuals, in the order given.

    Example:
      >>> gajax.concatenate(jnp.zeros((2, 4)), jnp.ones((1, 4))).shape
      (3, 4)
    """
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *populations)


def _one_for_each(densities: Float[Array, "..."], size: int) -> Float[Array, " P"]:
    if densities.shape != (size,):
        raise ValueError(f"there must be {size} densities, not {densities.shape}")
    return densities


def density(population: Params) -> Float[Array, " P"]:
    """Share of the genes of each individual that are not zero, biases included.

    Example:
      >>> gajax.density({"kernel": jnp.array([[1.0, 0.0], [2.0, 3.0]])})
      Array([0.5, 1. ], dtype=float32)
    """
    return map_individuals(individual.density, population)


def where(mask: Bool[Array, " P"], population: Any, others: Any) -> Any:
    """The individuals of the population where the mask is true, else those of `others`.

    Example:
      >>> gajax.population.where(jnp.array([True, False]), jnp.ones((2, 2)), jnp.zeros((2, 2)))
      Array([[1., 1.],
             [0., 0.]], dtype=float32)
    """

    def choose(leaf: Array, other: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, other)

    return jax.tree.map(choose, population, others)
