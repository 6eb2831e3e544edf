"""From parents to children, a few pairs of parents at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key

from gajax import population as populations
from gajax import sharding
from gajax.individual import Individual, genes_of, with_genes
from gajax.types import Params


def of_individuals(
    crossover: Callable[..., tuple[Params, Params]],
    mutation: Callable[..., Params],
    hyper_mutation: Callable[..., Any],
) -> tuple[Callable[..., tuple[Any, Any]], Callable[..., Any]]:
    """The operators on individuals that may have more than genes, from those on genes.

    The first child inherits the mother's state and hyper-parameters, the second the father's;
    `hyper_mutation(key, hyper)` changes the latter.
    """

    def cross(key: Key[Array, ""], first: Any, second: Any, *guides: Any) -> tuple[Any, Any]:
        older, younger = crossover(key, genes_of(first), genes_of(second), *guides)
        return with_genes(first, older), with_genes(second, younger)

    def mutate(key: Key[Array, ""], child: Any) -> Any:
        if not isinstance(child, Individual) or not jax.tree.leaves(child.hyper):
            return with_genes(child, mutation(key, genes_of(child)))
        key_genes, key_hyper = jax.random.split(key)
        hyper = hyper_mutation(key_hyper, child.hyper)
        return child._replace(params=mutation(key_genes, child.params), hyper=hyper)

    return cross, mutate


def breed(
    crossover: Callable[..., tuple[Params, Params]],
    mutation: Callable[..., Params],
    key: Key[Array, ""],
    population: Any,
    mothers: Int[Array, " K"],
    fathers: Int[Array, " K"],
    count: int,
    *,
    chunk_size: int | None = None,
) -> Params:
    """The first `count` of the 2 K children: both of the first pair, both of the second, ...

    `mothers` and `fathers` are indices into the population, whose individuals may be trees of genes
    and more. `crossover(key, mother, father)` gives two children, `mutation(key, child)` changes
    each. Within a mesh each device first gets the parents of its share of the children; a pair
    whose children belong to two devices has them on both.
    """
    devices = sharding.device_count()
    sharding.check(count, "number of children")
    share = count // devices
    pairs = -(-share // 2)
    first_children = np.arange(devices) * share
    keys: Any = jax.random.split(key, len(mothers))
    parents: tuple[Any, Any] = mothers, fathers
    if devices > 1:
        on_devices = jnp.asarray((first_children[:, None] // 2 + np.arange(pairs)).reshape(-1))
        keys = keys[on_devices]
        parents = tuple(sharding.take((population,), parent[on_devices]) for parent in parents)

    def children(pair: tuple[Any, Any, Any]) -> tuple[Params, ...]:
        key, *parents = pair
        if devices == 1:
            parents = [populations.take(population, parent) for parent in parents]
        key_crossover, key_mutation = jax.random.split(key)
        born = crossover(key_crossover, *parents)
        return tuple(map(mutation, jax.random.split(key_mutation), born))

    genes = populations.genes(population) // populations.size(population)
    chunk = min(pairs, chunk_size or populations.default_chunk_size(genes, pairs))

    def on_device(first_child: Array, *pairs_of_device: Any) -> Params:
        def write(born: Params, part: Any) -> tuple[Params, None]:
            """The children of some pairs in their places, of which each pair has two."""
            start, some = part
            for place, child in enumerate(jax.vmap(lambda *pair: children(pair))(*some)):

                def put(leaf: Array, new: Array, place: int = place) -> Array:
                    corner = (start, place, *[0] * (leaf.ndim - 2))
                    return lax.dynamic_update_slice(leaf, new[:, None], corner)

                born = jax.tree.map(put, born, child)
            return born, None

        # Written in place, for a stack of two children, or of all, would be one more copy of them.
        child, _ = jax.eval_shape(jax.vmap(lambda *pair: children(pair)), *pairs_of_device)
        born = jax.tree.map(lambda leaf: jnp.zeros((pairs, 2, *leaf.shape[1:]), leaf.dtype), child)
        whole, rest = divmod(pairs, chunk)
        chunks = jax.tree.map(
            lambda leaf: leaf[: whole * chunk].reshape(whole, chunk, *leaf.shape[1:]),
            pairs_of_device,
        )
        born, _ = lax.scan(write, born, (jnp.arange(whole) * chunk, chunks))
        if rest:
            last = populations.take(pairs_of_device, slice(whole * chunk, None))
            born, _ = write(born, (whole * chunk, last))

        def in_order(leaf: Array) -> Array:
            leaf = leaf.reshape(-1, *leaf.shape[2:])
            if len(leaf) == share:
                return leaf
            return lax.dynamic_slice_in_dim(leaf, first_child[0] % 2, share)

        return jax.tree.map(in_order, born)

    return sharding.on_shards(on_device, jnp.asarray(first_children), keys, *parents)
