"""Sparse gradient steps: an optax wrapper under which zero genes stay zero."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from gajax.individual import all_leaves, leaf_mask
from gajax.types import LeafPredicate, Params


def sparse(
    inner: optax.GradientTransformation, *, may_be_zero: LeafPredicate = all_leaves
) -> optax.GradientTransformationExtraArgs:
    """Let `inner` move only the genes that are not zero (SSGD of Yang et al., IEEE TNNLS 33(9)).

    Gradients of zero genes are masked before the inner update, so that they enter no moment and no
    norm that clipping looks at, and the updates after it, so that neither momentum nor weight
    decay revives them. Leaves that may not become zero move as ever, zero-initialised biases among
    them, which would never train otherwise. vmap `init` and `update` over a population.
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
