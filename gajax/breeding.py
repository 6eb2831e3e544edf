"""From parents to children, a few groups of parents at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key

from gajax import bits, sharding
from gajax import population as populations
from gajax.individual import Individual, genes_of, with_genes
from gajax.types import Params


def of_individuals(
    crossover: Callable[..., tuple[Params, ...]],
    mutation: Callable[..., Params],
    hyper_mutation: Callable[..., Any],
) -> tuple[Callable[..., tuple[Any, ...]], Callable[..., Any]]:
    """The operators on individuals that may have more than genes, from those on genes.

    Each child inherits the state and the hyper-parameters of one parent, the first those of the
    first; `hyper_mutation(key, hyper)` changes the latter.

    Example:
      >>> cross, mutate = gajax.breeding.of_individuals(
      ...     gajax.crossover.mean, gajax.mutation.zero, gajax.mutation.scale
      ... )
      >>> parents = [gajax.Individual(jnp.ones(3), state=number) for number in range(2)]
      >>> [child.state for child in cross(jax.random.key(0), *parents)]
      [0, 1]
    """

    def cross(key: Key[Array, ""], *parents: Any, guides: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        children = crossover(key, *map(genes_of, parents), *guides)
        return tuple(map(with_genes, parents, children))

    def mutate(key: Key[Array, ""], child: Any) -> Any:
        if not isinstance(child, Individual) or not jax.tree.leaves(child.hyper):
            return with_genes(child, mutation(key, genes_of(child)))
        key_genes, key_hyper = jax.random.split(key)
        hyper = hyper_mutation(key_hyper, child.hyper)
        return child._replace(params=mutation(key_genes, child.params), hyper=hyper)

    return cross, mutate


def draw_parents(
    key: Key[Array, ""], count: int | Int[Array, ""], groups: int, parents: int, survivors: int
) -> list[Int[Array, " K"]]:
    """The ranks of the parents of each group, drawn uniformly from the first `count` survivors.

    Those of a group differ, as far as there are enough and all survivors are among the first.

    Example:
      >>> mothers, fathers = gajax.breeding.draw_parents(jax.random.key(0), 4, 3, 2, 4)
      >>> mothers.shape, bool((mothers != fathers).all())
      ((3,), True)
    """
    places = jnp.broadcast_to(jnp.arange(parents) % survivors, (groups, parents))
    drawn = bits.permuted(key, jnp.arange(groups), places, survivors)
    return list((drawn % count).T)


def breed(
    crossover: Callable[..., tuple[Params, ...]],
    mutation: Callable[..., Params],
    key: Key[Array, ""],
    population: Any,
    parents: Sequence[Int[Array, " K"]],
    count: int,
    *,
    chunk_size: int | None = None,
) -> Params:
    """The first `count` children: all of the first group of parents, all of the second, ...

    `parents` are indices into the population: the first parents of all K groups, such as mothers,
    the second ones, such as fathers, and so on. Individuals may be trees of genes and more.
    `crossover(key, *parents)` gives as many children as there are parents, `mutation(key, child)`
    changes each. Within a mesh each device first gets the parents of its share of the children; a
    group whose children belong to two devices has them on both.

    Example:
      >>> population, parents = jnp.arange(4.0)[:, None], (jnp.array([0, 2]), jnp.array([1, 3]))
      >>> children = gajax.breeding.breed(
      ...     gajax.crossover.uniform,
      ...     lambda key, child: child,
      ...     jax.random.key(0),
      ...     population,
      ...     parents,
      ...     4,
      ... )
      >>> sorted(children[:, 0].tolist())  # the genes of each couple are in its two children
      [0.0, 1.0, 2.0, 3.0]
    """
    devices = sharding.device_count()
    sharding.check(count, "number of children")
    share, members = count // devices, len(parents)
    first_children = np.arange(devices) * share
    groups = int(np.max(-(-(first_children % members + share) // members)))
    keys: Any = jax.random.split(key, len(parents[0]))
    columns: tuple[Any, ...] = tuple(parents)
    if devices > 1:
        first_groups = first_children[:, None] // members
        on_devices = jnp.asarray((first_groups + np.arange(groups)).reshape(-1))
        keys = keys[on_devices]
        columns = tuple(sharding.take((population,), column[on_devices]) for column in columns)

    def children(group: tuple[Any, ...]) -> tuple[Params, ...]:
        key, *parents = group
        if devices == 1:
            parents = [populations.take(population, parent) for parent in parents]
        key_crossover, key_mutation = jax.random.split(key)
        born = crossover(key_crossover, *parents)
        return tuple(map(mutation, jax.random.split(key_mutation, members), born))

    genes = populations.genes(population) // populations.size(population)
    chunk = min(groups, chunk_size or populations.default_chunk_size(genes, groups))

    def on_device(first_child: Array, *groups_of_device: Any) -> Params:
        def write(born: Params, part: Any) -> tuple[Params, None]:
            """The children of some groups in their places."""
            start, some = part
            for place, child in enumerate(jax.vmap(lambda *group: children(group))(*some)):

                def put(leaf: Array, new: Array, place: int = place) -> Array:
                    corner = (start, place, *[0] * (leaf.ndim - 2))
                    return lax.dynamic_update_slice(leaf, new[:, None], corner)

                born = jax.tree.map(put, born, child)
            return born, None

        # Written in place, for a stack of a group of children, or of all, would be one more copy.
        child, *_ = jax.eval_shape(jax.vmap(lambda *group: children(group)), *groups_of_device)
        born = jax.tree.map(
            lambda leaf: jnp.zeros((groups, members, *leaf.shape[1:]), leaf.dtype), child
        )
        whole, rest = divmod(groups, chunk)
        chunks = jax.tree.map(
            lambda leaf: leaf[: whole * chunk].reshape(whole, chunk, *leaf.shape[1:]),
            groups_of_device,
        )
        born, _ = lax.scan(write, born, (jnp.arange(whole) * chunk, chunks))
        if rest:
            last = populations.take(groups_of_device, slice(whole * chunk, None))
            born, _ = write(born, (whole * chunk, last))

        def in_order(leaf: Array) -> Array:
            leaf = leaf.reshape(-1, *leaf.shape[2:])
            if len(leaf) == share:
                return leaf
            return lax.dynamic_slice_in_dim(leaf, first_child[0] % members, share)

        return jax.tree.map(in_order, born)

    return sharding.on_shards(on_device, jnp.asarray(first_children), keys, *columns)
