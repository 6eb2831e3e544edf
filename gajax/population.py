"""The population: one tree of arrays whose leaves all carry the leading axis P."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Shaped

from gajax import bits, sharding
from gajax.types import LeafPredicate, Params, as_key, require_at_least

_LARGE = 2**14  # genes of a leaf


def all_leaves(path: str, leaf: Any) -> bool:
    """The predicate of a model all of whose genes may become zero."""
    del path, leaf
    return True


def all_but_biases(path: str, leaf: Any) -> bool:
    """The predicate of a model whose biases, the leaves named "...bias", stay as they are."""
    del leaf
    return not path.endswith("bias")


def leaf_mask(tree: PyTree, predicate: LeafPredicate) -> PyTree[bool]:
    """The tree with the predicate's answer in place of every leaf.

    ValueError where the predicate holds for no leaf: then it reads the names otherwise than they
    are, which the error lists.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = ["/".join(_names(path)) for path, _ in paths]
    mask = [bool(predicate(name, leaf)) for name, (_, leaf) in zip(names, paths, strict=True)]
    if not any(mask):
        raise ValueError(f"the predicate must hold for a leaf, of which there are {names}")
    return jax.tree.unflatten(structure, mask)


def _names(path: Any) -> list[str]:
    """What the entries of a path through a tree are called: keys, attributes or indices."""
    # The arrays of Flax NNX are the attribute `value` of a variable, which has the name.
    if len(path) > 1 and path[-1] == jax.tree_util.GetAttrKey("value"):
        path = path[:-1]
    return [
        str(getattr(entry, next(name for name in ("key", "name", "idx") if hasattr(entry, name))))
        for entry in path
    ]


def linear_densities(size: int) -> Float[Array, " P"]:
    """Densities spread evenly from 1/P to 1 (Yang et al., IEEE TNNLS 33(9))."""
    return jnp.arange(1, size + 1) / size


def init(
    key: Any,
    init_fn: Callable[[Key[Array, ""]], Params],
    size: int,
    *,
    densities: Float[Array, " P"] | None = None,
    may_be_zero: LeafPredicate = all_leaves,
) -> Params:
    """Draw `size` individuals from `init_fn(key) -> params` and stack them.

    With `densities`, such as `linear_densities(size)`, individual i keeps each gene that may become
    zero with probability `densities[i]`; the others are zero.
    """
    key = as_key(key)
    if densities is None:
        return map_individuals(init_fn, jax.random.split(key, size))
    densities = _one_for_each(densities, size)
    key_init, key_keep = jax.random.split(key)

    def draw(individual: tuple[Key[Array, ""], Key[Array, ""], Array]) -> Params:
        key_init, key_keep, density = individual
        drawn = init_fn(key_init)

        def keep(leaf: Array, mask: Array, may: bool) -> Array:
            return jnp.where(mask, leaf, jnp.zeros_like(leaf)) if may else leaf

        masks = random_masks(key_keep, density, drawn)
        return jax.tree.map(keep, drawn, masks, leaf_mask(drawn, may_be_zero))

    keys = jax.random.split(key_init, size), jax.random.split(key_keep, size)
    return map_individuals(draw, (*keys, densities))


def sparse_copies(
    key: Any,
    params: Params,
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
    """
    densities = _one_for_each(densities if densities is not None else linear_densities(size), size)
    mask = leaf_mask(params, may_be_zero)
    sizes = jax.tree.map(lambda leaf, may: may * leaf.size, params, mask)
    weights = sum(jax.tree.leaves(sizes))
    fixed = genes(params) - weights
    scores = jax.tree.map(lambda leaf, may: jnp.where(may, jnp.abs(leaf), jnp.inf), params, mask)
    ranks = gene_ranks(scores)

    def copy(individual: tuple[Key[Array, ""], Array]) -> Params:
        key, density = individual
        kept = fixed + jnp.round(density * weights)
        scale = jnp.where(density < 1, noise, 0)

        def change(key: Array, leaf: Array, rank: Array) -> Array:
            noise = jax.random.normal(key, leaf.shape, leaf.dtype)
            moved = leaf + scale * jnp.sqrt(jnp.mean(leaf**2)) * noise
            return jnp.where((rank < kept) & (leaf != 0), moved.astype(leaf.dtype), 0)

        return map_with_key(key, change, params, ranks)

    return map_individuals(copy, (jax.random.split(as_key(key), size), densities))


def default_chunk_size(genes: int, count: int) -> int:
    """How many of `count` individuals with so many genes run side by side by default.

    A CPU is fastest while the weights at work stay in its nearest cache and every core works on the
    same matrix product; a population that fits the next cache is not cut, as a loop over chunks
    takes time to compile. A GPU or TPU wants large products, but no more than fill it, so that what
    they need on the way stays small beside a large population. Where a divisor of the count is near
    that size it is taken, for a last smaller chunk would be compiled apart.
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
    """Number of individuals; ValueError where the leaves disagree about it or there are none."""
    sizes = {leaf.shape[axis : axis + 1] for leaf in jax.tree.leaves(population)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"the leaves must share one leading axis, not {sizes or 'none'}")
    return sizes.pop()[0]


def genes(individual: Params) -> int:
    """Number of genes of one individual, biases included."""
    return sum(leaf.size for leaf in jax.tree.leaves(individual))


def take(population: Any, indices: int | Int[Array, "*K"] | slice) -> Any:
    """The individuals at `indices`, in that order."""
    return jax.tree.map(lambda leaf: leaf[indices], population)


def concatenate(*populations: Any) -> Any:
    """One population of all the individuals, in the order given."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *populations)


def _one_for_each(densities: Float[Array, "..."], size: int) -> Float[Array, " P"]:
    if densities.shape != (size,):
        raise ValueError(f"there must be {size} densities, not {densities.shape}")
    return densities


def from_vector(vector: Shaped[Array, " genes"], tree: Params) -> Params:
    """The elements of a vector in the shapes of a tree, which has as many genes."""
    leaves, structure = jax.tree.flatten(tree)
    parts = jnp.split(vector, np.cumsum([leaf.size for leaf in leaves])[:-1])
    shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def to_vector(tree: Params) -> Shaped[Array, " genes"]:
    """All genes of a tree."""
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(tree)])


def gene_ranks(scores: Params) -> Params:
    """The rank of every gene by its score among those of all leaves, 0 for the highest."""
    order = jnp.argsort(-to_vector(scores))
    return from_vector(jnp.zeros_like(order).at[order].set(jnp.arange(order.size)), scores)


def join(tree: Params) -> list[Array]:
    """The large leaves, and all others as one vector, which compiles faster than many leaves.

    Large ones are not joined, as copying them takes time.
    """
    leaves = jax.tree.leaves(tree)
    small = [leaf for leaf in leaves if leaf.size < _LARGE]
    large = [leaf for leaf in leaves if leaf.size >= _LARGE]
    return [*large, to_vector(small)] if small else large


def split(joined: Sequence[Array], tree: Params) -> Params:
    """The tree like the given one from what `join` makes of it."""
    leaves, structure = jax.tree.flatten(tree)
    small = [leaf for leaf in leaves if leaf.size < _LARGE]
    large, parts = iter(joined), iter(from_vector(joined[-1], small) if small else [])
    restored = [next(parts if leaf.size < _LARGE else large) for leaf in leaves]
    restored = [new.astype(leaf.dtype) for new, leaf in zip(restored, leaves, strict=True)]
    return jax.tree.unflatten(structure, restored)


def map_with_key(key: Key[Array, ""], function: Callable[..., Any], *trees: PyTree) -> Any:
    """`function(key, *leaves)` on every leaf, each with a key of its own."""
    structure = jax.tree.structure(trees[0])
    keys = jax.tree.unflatten(structure, list(jax.random.split(key, structure.num_leaves)))
    return jax.tree.map(function, keys, *trees)


def density(population: Params) -> Float[Array, " P"]:
    """Share of the genes of each individual that are not zero, biases included."""

    def of_one(individual: Params) -> Float[Array, ""]:
        nonzero = [jnp.sum(leaf != 0) for leaf in jax.tree.leaves(individual)]
        return jnp.sum(jnp.stack(nonzero)) / genes(individual)

    return map_individuals(of_one, population)


def where(mask: Bool[Array, " P"], population: Any, others: Any) -> Any:
    """The individuals of the population where the mask is true, else those of `others`."""

    def choose(leaf: Array, other: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, other)

    return jax.tree.map(choose, population, others)


def is_finite(individual: Params) -> Bool[Array, ""]:
    """Whether all genes of one individual are finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(individual)]).all()


def random_mask(
    key: Key[Array, ""], rate: float | Float[Array, ""], shape: tuple[int, ...]
) -> Bool[Array, "..."]:
    """True with probability `rate`, exact to 2**-32 for small rates, from a word each."""
    rate = jnp.asarray(rate, jnp.float32)
    limit = jnp.minimum(rate * 2.0**32, 2.0**32 - 256).astype(jnp.uint32)
    return (bits.words(key, shape) < limit) | (rate >= 1)


def random_masks(key: Key[Array, ""], rate: float | Float[Array, ""], tree: Params) -> Params:
    """A tree like this one of what `random_mask` gives, from one draw for all genes."""
    return from_vector(random_mask(key, rate, (genes(tree),)), tree)
