"""Benchmark of non-dominated sorting against a plain sort, pymoo and moocore."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.measure import Floor, Function, Row, Sizes, measure, rivals_or_missing
from gajax import pareto

DECIMALS = 2


def non_dominated_sorting(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Survivors (half of the points), and ranks alone, of uniformly random points.

    In two objectives also of rounded points, with many ties. The floor is one lexicographic sort.
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
    """Return a function that selects half of the points [P, M] by pymoo."""
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

    survival, problem = RankAndCrowding(), Problem(n_var=1, n_obj=points.shape[1])
    population = Population.new("F", points)
    return {"pymoo": partial(survival.do, problem, population, n_survive=len(points) // 2)}


def moocore_ranks(points: np.ndarray) -> dict[str, Function]:
    """Return a function that ranks the points [P, M] by moocore."""
    import moocore

    return {"moocore": partial(moocore.pareto_rank, points)}
