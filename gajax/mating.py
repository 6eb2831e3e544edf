"""Mating and survival by rank and crowding.

Source: Deb et al., IEEE TEVC 6(2), on NSGA-II.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Real

from gajax import breeding, pareto, sharding
from gajax.operators import selection
from gajax.types import Params


def mate(
    crossover: Callable[..., tuple[Params, Params]],
    mutation: Callable[..., Params],
    key: Key[Array, ""],
    individuals: Any,
    level: Int[Array, " P"],
    eligible: int | Int[Array, ""],
    *,
    chunk_size: int | None = None,
) -> Any:
    """P children of the winners of binary tournaments by level, in which each enters twice.

    Winners behind the first `eligible` individuals are replaced by some of these, where there are
    any. The operators are those of `breeding.breed`, for individuals that may be trees of genes
    and more.
    """
    key_tournament, key_children = jax.random.split(key)
    size = len(level)
    pairs = -(-size // 2)
    parents = selection.tournament(key_tournament, level, 2 * pairs)
    parents %= jnp.where(eligible > 0, eligible, size)
    produce = partial(breeding.breed, crossover, mutation, chunk_size=chunk_size)
    return produce(key_children, individuals, (parents[:pairs], parents[pairs:]), size)


def survive(
    parents: Any,
    offspring: Any,
    parent_objectives: Real[Array, "P M"],
    offspring_objectives: Real[Array, "P M"],
) -> tuple[Any, Real[Array, "P M"], Int[Array, " P"]]:
    """The P individuals of lowest rank, then of largest crowding, of parents and offspring.

    Parents and offspring are trees of everything that belongs to an individual. Returns that of the
    survivors, their objectives and their levels, sorted by the last objective.
    """
    size = len(parent_objectives)
    objectives = jnp.concatenate([parent_objectives, offspring_objectives])
    rank = pareto.ranks(objectives)
    level = pareto.levels(rank, pareto.crowding(objectives, rank))
    chosen = jnp.argsort(level)[:size]
    last = objectives[chosen, -1]
    chosen = chosen[jnp.lexsort((last, ~jnp.isfinite(last)))]
    return sharding.take((parents, offspring), chosen), objectives[chosen], level[chosen]
