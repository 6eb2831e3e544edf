"""The population: one tree of arrays whose leaves all carry the leading axis P."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from gajax import bits, sharding
from gajax.types import LeafPredicate, Params, require_at_least

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
    """The tree with the predicate's answer in place of every leaf."""

    def ask(path: Any, leaf: Any) -> bool:
        return predicate("/".join(str(_name(entry)) for entry in path), leaf)

    return jax.tree_util.tree_map_with_path(ask, tree)


def _name(entry: Any) -> Any:
    """What an entry of a path through a tree is called: a key, an attribute or an index."""
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return entry


def linear_densities(size: int) -> Float[Array, " P"]:
    """Densities spread evenly from 1/P to 1 (Yang et al., IEEE TNNLS 33(9))."""
    return jnp.arange(1, size + 1) / size


def init(
    key: Key[Array, ""],
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
    if densities is None:
        return map_individuals(init_fn, jax.random.split(key, size))
    if densities.shape != (size,):
        raise ValueError(f"there must be {size} densities, not {densities.shape}")
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
    key: Key[Array, ""],
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
    densities = linear_densities(size) if densities is None else densities
    if densities.shape != (size,):
        raise ValueError(f"there must be {size} densities, not {densities.shape}")
    mask = leaf_mask(params, may_be_zero)
    pairs = list(zip(jax.tree.leaves(params), jax.tree.leaves(mask), strict=True))
    magnitudes = [jnp.ravel(jnp.abs(leaf)).astype(jnp.float32) for leaf, may in pairs if may]
    order = jnp.argsort(-jnp.concatenate(magnitudes)) if magnitudes else jnp.zeros(0, jnp.int32)
    place = jnp.zeros_like(order).at[order].set(jnp.arange(order.size))

    def copy(individual: tuple[Key[Array, ""], Array]) -> Params:
        key, density = individual
        kept = place < jnp.round(density * place.size)
        scale = jnp.where(density < 1, noise, 0)
        offset, leaves = 0, []
        keys = jax.random.split(key, len(pairs))
        for key_noise, (leaf, may) in zip(keys, pairs, strict=True):
            rms = jnp.sqrt(jnp.mean(leaf**2))
            moved = leaf + scale * rms * jax.random.normal(key_noise, leaf.shape, leaf.dtype)
            moved = jnp.where(leaf == 0, leaf, moved.astype(leaf.dtype))
            if may:
                keep = kept[offset : offset + leaf.size].reshape(leaf.shape)
                moved = jnp.where(keep, moved, jnp.zeros_like(leaf))
                offset += leaf.size
            leaves.append(moved)
        return jax.tree.unflatten(jax.tree.structure(params), leaves)

    return map_individuals(copy, (jax.random.split(key, size), densities))


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


def join(tree: Params) -> list[Array]:
    """The large leaves, and all others as one vector, which compiles faster than many leaves.

    Large ones are not joined, as copying them takes time.
    """
    leaves = jax.tree.leaves(tree)
    small, _ = ravel_pytree([leaf for leaf in leaves if leaf.size < _LARGE])
    return [*(leaf for leaf in leaves if leaf.size >= _LARGE), small]


def split(joined: Sequence[Array], tree: Params) -> Params:
    """The tree like the given one from what `join` makes of it."""
    leaves, structure = jax.tree.flatten(tree)
    vector, unravel = ravel_pytree([leaf for leaf in leaves if leaf.size < _LARGE])
    large, small = iter(joined[:-1]), iter(unravel(joined[-1].astype(vector.dtype)))
    parts = [next(large if leaf.size >= _LARGE else small) for leaf in leaves]
    parts = [part.astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, parts)


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
    leaves, structure = jax.tree.flatten(tree)
    mask = random_mask(key, rate, (genes(tree),))
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = zip(jnp.split(mask, ends), leaves, strict=True)
    return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in parts])
