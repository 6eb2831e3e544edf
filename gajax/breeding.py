"""From parents to children, a few couples at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key, PyTree

from gajax import population as populations
from gajax import sharding
from gajax.types import Params


def breed(
    couple: Callable[[Any, Any, Any], Sequence[Params]],
    keys: PyTree[Key[Array, " K"]],
    population: Any,
    mothers: Int[Array, " K"],
    fathers: Int[Array, " K"],
    count: int,
    chunk_size: int | None = None,
) -> Params:
    """The first `count` of the 2 K children: both of the first couple, both of the second, ...

    `couple(keys, mother, father)` gives two children. Parents are fetched chunk by chunk. Within a
    mesh each device first gets the parents of its own share of the children; a couple whose
    children belong to two devices has them on both.
    """
    devices = sharding.device_count()
    sharding.check(count, "number of children")
    share = count // devices
    couples = -(-share // 2)
    first_children = np.arange(devices) * share
    parents: tuple[Any, Any] = mothers, fathers
    if devices > 1:
        own = jnp.asarray((first_children[:, None] // 2 + np.arange(couples)).reshape(-1))
        keys = populations.take(keys, own)
        parents = tuple(sharding.take((population,), parent[own]) for parent in parents)

    def children(key: Any, mother: Any, father: Any) -> Sequence[Params]:
        if devices == 1:
            mother, father = (
                populations.take(population, mother),
                populations.take(population, father),
            )
        return couple(key, mother, father)

    size = populations.size(population)
    chunk = chunk_size or populations.default_chunk_size(populations.genes(population) // size)
    chunk = min(chunk, couples)

    def on_device(first_child: Array, *of: Any) -> Params:
        def write(both: Params, some: Any) -> tuple[Params, None]:
            """The children of some couples in their places, of which each couple has two."""
            start, some = some
            for place, born in enumerate(jax.vmap(children)(*some)):

                def put(leaf: Array, new: Array, place: int = place) -> Array:
                    corner = (start, place, *[0] * (leaf.ndim - 2))
                    return lax.dynamic_update_slice(leaf, new[:, None], corner)

                both = jax.tree.map(put, both, born)
            return both, None

        # Written in place, for a stack of two children, or of all, would be one more copy of them.
        child, _ = jax.eval_shape(jax.vmap(children), *of)
        both = jax.tree.map(
            lambda leaf: jnp.zeros((couples, 2, *leaf.shape[1:]), leaf.dtype), child
        )
        whole, rest = divmod(couples, chunk)
        chunks = jax.tree.map(
            lambda leaf: leaf[: whole * chunk].reshape(whole, chunk, *leaf.shape[1:]), of
        )
        both, _ = lax.scan(write, both, (jnp.arange(whole) * chunk, chunks))
        if rest:
            both, _ = write(both, (whole * chunk, populations.take(of, slice(whole * chunk, None))))

        def flat(pairs: Array) -> Array:
            born = pairs.reshape(-1, *pairs.shape[2:])
            if len(born) == share:
                return born
            return lax.dynamic_slice_in_dim(born, first_child[0] % 2, share)

        return jax.tree.map(flat, both)

    return sharding.on_shards(on_device, jnp.asarray(first_children), keys, *parents)
