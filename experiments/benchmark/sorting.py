"""Non-dominated sorting, crowding and survival beside a plain sort and beside pymoo and moocore."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.measure import Floor, Function, Row, Sizes, measure, rivals_or_missing
from gajax import pareto

DECIMALS = 2


def sorting(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Survivors (half of the points), and ranks alone, of uniformly random points.

    In two objectives also of points that are rounded, so that many are equal. What cannot be
    avoided is one lexicographic sort of the points.
    """
    survive = jax.jit(pareto.survivors, static_argnums=1)
    rank, sort = jax.jit(pareto.ranks), jax.jit(jnp.lexsort)
    random = np.random.default_rng(0)
    cases = [(count, 2, ties) for ties in (False, True) for count in sizes.points]
    cases += [(count, 3, False) for count in sizes.points_of_three]
    for count, objectives, ties in cases:
        points = random.random((count, objectives))
        points = points.round(DECIMALS) if ties else points
        here = jnp.asarray(points, jnp.float32)
        size = f"{count:,} points, M = {objectives}{', with ties' if ties else ''}"
        floor = Floor(partial(sort, (*here.T,)))
        yield measure(
            5,
            "ranks, crowding, survivors",
            size,
            partial(survive, here, count // 2),
            repeats,
            floor=floor,
            rivals=rivals_or_missing("pymoo", pymoo_survivors, points),
        )
        yield measure(
            5,
            "ranks",
            size,
            partial(rank, here),
            repeats,
            floor=floor,
            rivals=rivals_or_missing("moocore", moocore_ranks, points),
        )


def pymoo_survivors(points: np.ndarray) -> dict[str, Function]:
    """Gives half of the points [P, M], as a population of pymoo's."""
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

    survival, problem = RankAndCrowding(), Problem(n_var=1, n_obj=points.shape[1])
    population = Population.new("F", points)
    return {"pymoo": partial(survival.do, problem, population, n_survive=len(points) // 2)}


def moocore_ranks(points: np.ndarray) -> dict[str, Function]:
    """Gives the rank of each of the points [P, M]."""
    import moocore

    return {"moocore": partial(moocore.pareto_rank, points)}
