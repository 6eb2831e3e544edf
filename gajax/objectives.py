"""Objectives beside the loss: functions of one individual, minimised.

`jax.vmap` or `gajax.population.map_individuals` applies them to a population, and
`functools.partial` sets their options. A kernel is a leaf that holds the weights of a layer, by
Flax's convention with its outputs on the last axis and its inputs on the one before: (in, out) or
(height, width, in, out). PyTorch and Equinox have (out, in, ...).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gajax.individual import density as density
from gajax.individual import leaf_mask, leaf_paths
from gajax.types import LeafPredicate, Params, require_at_least


def at_least_two_axes(path: str, leaf: Any) -> bool:
    """The predicate of a model whose kernels are all leaves but the vectors and scalars.

    Example:
      >>> gajax.objectives.at_least_two_axes("hidden/kernel", jnp.ones((3, 2)))
      True
    """
    del path
    return leaf.ndim >= 2


def active_units(
    params: Params, *, output_axis: int = -1, is_kernel: LeafPredicate = at_least_two_axes
) -> Float[Array, ""]:
    """Number of output neurons and channels with a nonzero weight, over all kernels.

    The output of any other unit does not depend on the input (structured sparsity: Wen et al.,
    arXiv 1608.03665). ValueError where no leaf is a kernel.

    Example:
      >>> params = {"kernel": jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), "bias": jnp.ones(3)}
      >>> float(gajax.objectives.active_units(params))
      2.0
    """
    active = []
    for kernel in _kernels(params, is_kernel).values():
        weights = jnp.moveaxis(kernel, output_axis, 0).reshape(kernel.shape[output_axis], -1)
        active.append(jnp.sum((weights != 0).any(axis=1)))
    return jnp.stack(active).sum().astype(jnp.float32)


def macs(
    params: Params,
    positions: Mapping[str, int] = {},
    *,
    is_kernel: LeafPredicate = at_least_two_axes,
) -> Float[Array, ""]:
    """Multiply-accumulates with nonzero weights for one example; one is two FLOPs.

    `positions` maps the path of a kernel, such as "conv/kernel", to the number of positions at
    which each of its weights is used: height x width of a convolution's output, or the number of
    tokens. Those of two axes need none where that is 1. ValueError where a path is that of no
    kernel, a kernel of more axes has no positions, or no leaf is a kernel.

    Example:
      >>> params = {"conv": jnp.ones((3, 3, 1, 2)), "dense": jnp.array([[1.0, 0.0]])}
      >>> float(gajax.objectives.macs(params, {"conv": 10}))
      181.0
    """
    kernels = _kernels(params, is_kernel)
    require_at_least(0, **{f"positions[{path!r}]": count for path, count in positions.items()})
    if unknown := [path for path in positions if path not in kernels]:
        raise ValueError(f"positions must name kernels, which are {[*kernels]}, not {unknown}")
    large = {path for path, kernel in kernels.items() if kernel.ndim > 2}
    if missing := sorted(large - {*positions}):
        raise ValueError(f"positions must name all kernels of more than two axes, also {missing}")
    used = [jnp.sum(kernels[path] != 0) * float(positions.get(path, 1)) for path in kernels]
    return jnp.stack(used).sum()


def nm_violations(
    params: Params,
    n: int = 2,
    m: int = 4,
    *,
    input_axis: int = -2,
    is_kernel: LeafPredicate = at_least_two_axes,
) -> Float[Array, ""]:
    """Share of the groups of `m` weights with more than `n` that are not zero, over all kernels.

    0 where all kernels have N:M sparsity (Mishra et al., arXiv 2104.08378). A group consists of
    consecutive weights along the input axis; the last one may have fewer than `m`. ValueError where
    `n` is below 1 or above `m`, or no leaf is a kernel.

    Example:
      >>> kernel = jnp.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 4.0])[:, None]
      >>> float(gajax.objectives.nm_violations({"kernel": kernel}, n=2, m=4))
      0.5
    """
    require_at_least(1, n=n)
    require_at_least(n, m=m)
    exceeding = []
    for kernel in _kernels(params, is_kernel).values():
        nonzero = jnp.moveaxis(kernel, input_axis, -1) != 0
        padding = [(0, 0)] * (kernel.ndim - 1) + [(0, -nonzero.shape[-1] % m)]
        exceeding.append(jnp.pad(nonzero, padding).reshape(-1, m).sum(axis=1) > n)
    groups = jnp.concatenate(exceeding)
    return jnp.sum(groups) / groups.size


def _kernels(params: Params, is_kernel: LeafPredicate) -> dict[str, Array]:
    """The kernels by their paths; ValueError where there are none."""
    columns = leaf_paths(params), params, leaf_mask(params, is_kernel)
    rows = zip(*map(jax.tree.leaves, columns), strict=True)
    return {path: leaf for path, leaf, is_in in rows if is_in}
