"""The population axis over devices and hosts: the share of each, and what has to move.

Within `with jax.set_mesh(gajax.sharding.mesh()):` every device owns an equal share of the
individuals, works on it alone, and gets from the others what selection has chosen. Outside, all
functions here do what they do on one device.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import Array, Int, PyTree

AXIS = "population"


def mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:  # pyright: ignore[reportInvalidTypeForm]
    """A mesh of these devices (None: all, those of other hosts too) for `jax.set_mesh`.

    Example:
      >>> mesh = gajax.sharding.mesh()
      >>> mesh.axis_names, mesh.size == len(jax.devices())
      (('population',), True)
    """
    chosen = np.array(jax.devices() if devices is None else devices)
    return Mesh(chosen, (AXIS,), axis_types=(AxisType.Auto,))


def device_count() -> int:
    """Devices that share the population: 1 outside a mesh, and in what one of them does alone.

    Example:
      >>> gajax.sharding.device_count()
      1
      >>> with jax.set_mesh(gajax.sharding.mesh()):
      ...     gajax.sharding.device_count() == len(jax.devices())
      True
    """
    active = jax.sharding.get_abstract_mesh()
    if AXIS not in active.axis_names:
        return 1
    is_one_device = active.axis_types[active.axis_names.index(AXIS)] == AxisType.Manual
    return 1 if is_one_device else active.shape[AXIS]


def check(size: int, name: str = "population size") -> None:
    """ValueError where so many individuals cannot be shared equally by the active devices.

    Example:
      >>> gajax.sharding.check(10)
    """
    devices = device_count()
    if size % devices:
        below = size // devices * devices
        nearest = f"{below} or {below + devices}" if below else str(devices)
        raise ValueError(
            f"the {name} must be a multiple of the {devices} devices, such as {nearest}, not {size}"
        )


def place(population: PyTree) -> PyTree:
    """The population with an equal share of the individuals on each device of the mesh.

    On several hosts, within a compiled program alone.

    Example:
      >>> gajax.sharding.place(jnp.ones((4, 2))).shape
      (4, 2)
    """
    for leaf in jax.tree.leaves(population):
        check(leaf.shape[0])
    return _put(population, PartitionSpec(AXIS))


def replicate(tree: PyTree) -> PyTree:
    """The tree with a copy on each device of the mesh; on several hosts, as `place` does.

    Example:
      >>> gajax.sharding.replicate({"loss": jnp.zeros(4)})["loss"].shape
      (4,)
    """
    return _put(tree, PartitionSpec())


def gather(tree: PyTree) -> PyTree:
    """The tree as arrays of NumPy, whole on every host; all hosts must call it.

    Example:
      >>> gajax.sharding.gather({"loss": jnp.zeros(2)})
      {'loss': array([0., 0.], dtype=float32)}
    """

    def whole(leaf: Any) -> np.ndarray:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(whole, tree)


def _put(tree: PyTree, spec: PartitionSpec) -> PyTree:
    if device_count() == 1 or not jax.tree.leaves(tree):
        return tree
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree)):
        return lax.with_sharding_constraint(tree, spec)
    return jax.device_put(tree, spec)


def on_shards(
    function: Callable[..., Any], *populations: PyTree, common: tuple[PyTree, ...] = ()
) -> Any:
    """`function(*populations, *common)` of each device's shares; what it gives are shares too.

    Arrays that all individuals need must come as `common`: what a device computes cannot close over
    arrays that lie on all of them.

    Example:
      >>> gajax.sharding.on_shards(lambda share, scale: scale * share, jnp.ones(4), common=(2.0,))
      Array([2., 2., 2., 2.], dtype=float32)
    """
    if device_count() == 1:
        return function(*populations, *common)
    for leaf in jax.tree.leaves(populations):
        check(leaf.shape[0])
    shares, whole = PartitionSpec(AXIS), PartitionSpec()
    # Losses of users may hold loops that start from constants, which the check of shard_map for
    # values that vary over devices would refuse.
    return jax.shard_map(
        function,
        in_specs=(shares,) * len(populations) + (whole,) * len(common),
        out_specs=shares,
        check_vma=False,
    )(*populations, *common)


def first(population: PyTree, count: int) -> PyTree:
    """The first individuals of every device, `count` in all.

    Example:
      >>> gajax.sharding.first(jnp.arange(4), 2)  # within a mesh, so many in all
      Array([0, 1], dtype=int32)
    """
    share = count // device_count()
    return on_shards(lambda tree: jax.tree.map(lambda leaf: leaf[:share], tree), population)


def replace_first(population: PyTree, others: PyTree) -> PyTree:
    """The population with `others` in place of the first individuals of every device.

    Example:
      >>> gajax.sharding.replace_first(jnp.zeros(4), jnp.ones(2))
      Array([1., 1., 0., 0.], dtype=float32)
    """
    return on_shards(
        lambda *trees: jax.tree.map(lambda old, new: old.at[: len(new)].set(new), *trees),
        population,
        others,
    )


def replace_last(population: PyTree, others: PyTree) -> PyTree:
    """The population with `others` in place of the last individuals of every device.

    Example:
      >>> gajax.sharding.replace_last(jnp.zeros(4), jnp.ones(1))
      Array([0., 0., 0., 1.], dtype=float32)
    """
    return on_shards(
        lambda *trees: jax.tree.map(lambda old, new: old.at[-len(new) :].set(new), *trees),
        population,
        others,
    )


def take(sources: tuple[PyTree, ...], indices: Int[Array, " K"]) -> PyTree:
    """The individuals at `indices` of all sources one after another, in that order.

    Sources are populations of the same kind. In a mesh each device sends to each other one as many
    individuals as that one ends up with, for shapes are fixed and they might all come from there:
    K x (devices - 1) / devices of them arrive at each, and none ever holds more than three times
    its share of the result.

    Example:
      >>> gajax.sharding.take((jnp.arange(3), 10 * jnp.arange(3)), jnp.array([4, 0]))
      Array([10,  0], dtype=int32)
    """
    if not jax.tree.leaves(sources):  # such as the state of an optimiser that keeps none
        return sources[0]
    devices = device_count()
    check(indices.shape[0], "number of individuals taken")
    share = indices.shape[0] // devices
    columns = _locate(sources, indices, devices)
    if devices == 1:
        return _take_here(sources, *columns[1:])

    def exchange(sources: tuple[PyTree, ...], *columns: Array) -> PyTree:
        here = lax.axis_index(AXIS)

        def wanted_by(device: Array) -> list[Array]:
            return [lax.dynamic_slice_in_dim(one, device * share, share) for one in columns]

        owner, *positions = wanted_by(here)
        taken = _take_here(sources, *positions)
        for shift in range(1, devices):
            routes = [(device, (device + shift) % devices) for device in range(devices)]
            _, *positions = wanted_by((here + shift) % devices)
            sent = _take_here(sources, *positions)
            is_there = owner == (here - shift) % devices
            taken = jax.tree.map(partial(_exchange, is_there, routes), sent, taken)
        return taken

    return on_shards(exchange, sources, common=columns)


def _locate(
    sources: tuple[PyTree, ...], indices: Int[Array, " K"], devices: int
) -> tuple[Array, Array, Array]:
    """For each index the device, the source and the place there of the individual."""
    sizes = np.array([jax.tree.leaves(source)[0].shape[0] for source in sources])
    starts = np.cumsum(sizes) - sizes
    source = jnp.searchsorted(starts, indices, side="right") - 1
    inside = indices - jnp.asarray(starts)[source]
    shares = jnp.asarray(sizes // devices)[source]
    return inside // shares, source, inside % shares


def _take_here(sources: tuple[PyTree, ...], source: Array, place: Array) -> PyTree:
    """The individuals of one device's shares; any where the source has no such place."""

    def take(*leaves: Array) -> Array:
        taken = leaves[0][jnp.minimum(place, len(leaves[0]) - 1)]
        for number, leaf in enumerate(leaves[1:], 1):
            other = leaf[jnp.minimum(place, len(leaf) - 1)]
            taken = jnp.where(_along(source == number, leaf), other, taken)
        return taken

    return jax.tree.map(take, *sources)


def _exchange(is_there: Array, routes: list[tuple[int, int]], sent: Array, taken: Array) -> Array:
    return jnp.where(_along(is_there, sent), lax.ppermute(sent, AXIS, routes), taken)


def _along(mask: Array, leaf: Array) -> Array:
    """The mask of individuals with as many axes as the leaf."""
    return mask.reshape(-1, *[1] * (leaf.ndim - 1))
