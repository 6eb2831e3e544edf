"""Sparse gradient steps: an optax wrapper under which zero genes stay zero."""

import jax
import jax.numpy as jnp
import optax

from gajax.types import Params


def sparse(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Let `inner` move only the genes that are not zero (SSGD of Yang et al., IEEE TNNLS 33(9)).

    Gradients of zero genes are masked before the inner update, so that they enter no moment and no
    norm that clipping looks at, and the updates after it, so that neither momentum nor weight
    decay revives them. vmap `init` and `update` over a population. A zero-initialised bias never
    trains under it.
    """
    inner = optax.with_extra_args_support(inner)

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("sparse needs the parameters: call update(updates, state, params)")
        updates, state = inner.update(_masked(updates, params), state, params, **extra)
        return _masked(updates, params), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _masked(updates: Params, params: Params) -> Params:
    return jax.tree.map(
        lambda update, leaf: jnp.where(leaf != 0, update, jnp.zeros_like(update)), updates, params
    )
