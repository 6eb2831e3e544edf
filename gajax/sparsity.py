"""Which genes are kept, and gradient steps under which the others stay zero."""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Int, PyTree, UInt32

from gajax import sorting
from gajax.individual import all_leaves, density, leaf_mask
from gajax.types import LeafPredicate, Optimizer, Params


def sparse(
    inner: optax.GradientTransformation, *, may_be_zero: LeafPredicate = all_leaves
) -> optax.GradientTransformationExtraArgs:
    """Let `inner` move only the genes that are not zero (SSGD of Yang et al., IEEE TNNLS 33(9)).

    Gradients of zero genes are masked before the inner update, so that they enter no moment and no
    norm that clipping looks at, and the updates after it, so that neither momentum nor weight
    decay revives them. Leaves that may not become zero move as ever, zero-initialised biases among
    them, which would never train otherwise. vmap `init` and `update` over a population.

    Example:
      >>> params, optimizer = jnp.array([1.0, 0.0]), gajax.sparse(optax.sgd(0.1))
      >>> updates, _ = optimizer.update(jnp.ones(2), optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)
      Array([0.9, 0. ], dtype=float32)
    """
    inner = optax.with_extra_args_support(inner)

    def masked(updates: Params, params: Params) -> Params:
        def mask(update: Array, leaf: Array, may: bool) -> Array:
            return jnp.where(leaf != 0, update, jnp.zeros_like(update)) if may else update

        return jax.tree.map(mask, updates, params, leaf_mask(params, may_be_zero))

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("sparse needs the parameters: call update(updates, state, params)")
        if "grad" in extra:
            extra = extra | {"grad": masked(extra["grad"], params)}
        updates, state = inner.update(masked(updates, params), state, params, **extra)
        return masked(updates, params), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def scale_by_density(
    dense: float,
    sparse: float,
    *,
    at: float = 0.002,
    may_be_zero: LeafPredicate = all_leaves,
) -> optax.GradientTransformation:
    """The last link of a chain: multiply by minus a learning rate that rises with sparsity.

    It is `dense` for a network all of whose genes differ from zero, `sparse` for one of density
    `at`, and log-linear in the density of the leaves that may become zero in between and beyond:
    sparse networks have larger weights, which need larger steps. For Adam write
    `optax.chain(optax.scale_by_adam(), gajax.scale_by_density(1e-3, 3e-2))`.

    Example:
      >>> rate, params = gajax.scale_by_density(0.1, 0.9, at=0.25), jnp.array([1.0, 1.0, 0.0, 0.0])
      >>> updates, _ = rate.update(jnp.ones(4), rate.init(params), params)
      >>> bool(jnp.allclose(updates, -0.3))  # .5 is half-way from 1 to .25
      True
    """

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        if params is None:
            raise ValueError(
                "scale_by_density needs the parameters: update(updates, state, params)"
            )
        mask = jax.tree.leaves(leaf_mask(params, may_be_zero))
        leaves = [leaf for leaf, may in zip(jax.tree.leaves(params), mask, strict=True) if may]
        share = density(leaves)
        lowest = 1 / sum(leaf.size for leaf in leaves)  # so that no rate is infinite
        rate = dense * (sparse / dense) ** (jnp.log(jnp.maximum(share, lowest)) / math.log(at))
        return jax.tree.map(lambda leaf: (-rate * leaf).astype(leaf.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def prune(
    params: Params,
    alive: PyTree[Bool[Array, "..."]],
    may_be_zero: PyTree[bool],
    number: int | Int[Array, ""],
) -> PyTree[Bool[Array, "..."]]:
    """True for the `number` living genes of largest magnitude, and for all that may not be zero."""

    def score(leaf: Array, is_alive: Array, may: bool) -> Array:
        return jnp.where(is_alive, jnp.abs(leaf) if may else jnp.inf, -1)

    chosen = highest(jax.tree.map(score, params, alive, may_be_zero), number)
    return jax.tree.map(jnp.logical_and, chosen, alive)


def grow(
    alive: PyTree[Bool[Array, "..."]], updates: Params, number: int | Int[Array, ""]
) -> PyTree[Bool[Array, "..."]]:
    """True for living genes, and for the `number` others of largest update.

    Updates of plain gradient descent are those of RigL (arXiv 1911.11134); a momentum makes them
    those of "Sparse Networks from Scratch" (arXiv 1907.04840).
    """
    scores = jax.tree.map(lambda is_in, leaf: jnp.where(is_in, -1, jnp.abs(leaf)), alive, updates)
    return jax.tree.map(jnp.logical_or, alive, highest(scores, number))


def keep(alive: PyTree[Bool[Array, "..."]], params: Params) -> Params:
    """The genes with zero in place of those that are not alive."""
    return jax.tree.map(lambda is_in, leaf: jnp.where(is_in, leaf, 0), alive, params)


def of_alive(optimizer: Optimizer) -> Optimizer:
    """The optimiser that moves no others, for a state that is a pair of `alive` and its own.

    Moments take in the gradients of all genes, so that they tell which of the others should grow.
    Of an optimiser that is a function of hyper-parameters, another such function.
    """

    def masked(inner: optax.GradientTransformation) -> optax.GradientTransformation:
        inner = optax.with_extra_args_support(inner)

        def update(updates: Params, state: Any, params: Params | None = None, **extra: Any) -> Any:
            alive, inner_state = state
            updates, inner_state = inner.update(updates, inner_state, params, **extra)
            return keep(alive, updates), (alive, inner_state)

        return optax.GradientTransformationExtraArgs(inner.init, update)

    if isinstance(optimizer, optax.GradientTransformation):
        return masked(optimizer)
    return lambda hyper: masked(optimizer(hyper))


def highest(scores: Params, number: int | Int[Array, ""]) -> PyTree[Bool[Array, "..."]]:
    """True for the `number` genes of highest score in all leaves together, of equal ones the first.

    Scores are compared in float32, NaN as the lowest. The score of the last gene that is in, and
    its place among equals, are found bit by bit, for which nothing need be sorted.
    """
    leaves, structure = jax.tree.flatten(scores)
    values = [leaf.reshape(-1) for leaf in leaves]
    words = [sorting.words(jnp.where(jnp.isnan(leaf), -jnp.inf, leaf))[0] for leaf in values]
    *starts, genes = accumulate((leaf.size for leaf in leaves), initial=0)
    places = [
        lax.iota(jnp.uint32, leaf.size) + jnp.uint32(start)
        for leaf, start in zip(leaves, starts, strict=True)
    ]

    def is_equal_before(place: UInt32[Array, ""]) -> list[Bool[Array, " _"]]:
        pairs = zip(words, places, strict=True)
        return [(word == limit) & (own < place) for word, own in pairs]

    def is_above(limit: UInt32[Array, ""]) -> list[Bool[Array, " _"]]:
        return [word > limit for word in words]

    # At most `number` genes are above the highest limit that is not the score of one that is in.
    limit = ~_largest(32, lambda flipped: count(is_above(~flipped)) <= number)
    left = number - count(is_above(limit))
    last = _largest(genes.bit_length(), lambda place: count(is_equal_before(place)) <= left)
    masks = map(jnp.logical_or, is_above(limit), is_equal_before(last))
    shaped = [mask.reshape(leaf.shape) for mask, leaf in zip(masks, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def count(masks: PyTree[Bool[Array, "..."]]) -> Int[Array, ""]:
    """Number of genes for which the masks are true."""
    return jnp.stack([jnp.sum(mask, dtype=jnp.int32) for mask in jax.tree.leaves(masks)]).sum()


def _largest(bits: int, holds: Callable[[Array], Array]) -> UInt32[Array, ""]:
    """The largest word of `bits` bits that satisfies `holds`, as all smaller words must."""

    def decide(index: Array, word: Array) -> Array:
        larger = word | (jnp.uint32(1) << (bits - 1 - index).astype(jnp.uint32))
        return jnp.where(holds(larger), larger, word)

    return lax.fori_loop(0, bits, decide, jnp.uint32(0))
