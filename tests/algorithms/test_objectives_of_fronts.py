"""Fronts of objectives of one's own, beside the loss."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_model import DATA, SIZE, loss_fn, on_host, population

import gajax
from gajax import crossover, mutation, objectives

OBJECTIVES = {
    "density": objectives.density,
    "active units": objectives.active_units,
    "largest gene": lambda genes: jnp.abs(genes["first"]).max(),
}
GENERATIONS = 6
OPERATORS = {
    "nsga2": {
        "crossover": partial(crossover.uniform, rate=0.3),
        "mutation": partial(mutation.zero, rate=0.05),
    },
    "gemonn": {},
}


@cache
def evolved(name, *names):
    chosen = {objective: OBJECTIVES[objective] for objective in names}
    factory = getattr(gajax, name)
    # So that the loss of an individual never changes.
    options = {"batch_size": len(DATA.examples["inputs"]), "stale_parents": True}
    algorithm = factory(loss_fn, objectives=chosen, **options, **OPERATORS[name])
    return on_host(gajax.evolve(algorithm, 3, population(), DATA, generations=GENERATIONS))


NAMES = [("largest gene", "density"), tuple(OBJECTIVES)]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        *((NAMES[0], name) for name in OPERATORS),
        (NAMES[1], "gemonn"),
        pytest.param(NAMES[1], "nsga2", marks=pytest.mark.heavy),
    ],
    ids=str,
)
def test_the_state_holds_the_objectives_of_its_individuals(name, names):
    for state, _ in evolved(name, *names):
        assert set(state.objectives) == set(names)
        for objective in names:
            expected = jax.vmap(OBJECTIVES[objective])(state.params)
            np.testing.assert_allclose(state.objectives[objective], expected, rtol=1e-6)


def dominates(one, other):
    return (one <= other).all() and (one < other).any()


@pytest.mark.parametrize("name", OPERATORS)
def test_no_member_of_a_front_of_three_is_lost_to_what_does_not_dominate_it(name):
    names = ("largest gene", "density")
    steps = evolved(name, *names)
    points = [
        np.stack([*(state.objectives[one] for one in names), state.loss], axis=1)
        for state, _ in steps
    ]
    for before, after in zip(points, points[1:], strict=False):
        is_front = [not any(dominates(b, a) for b in before) for a in before]
        is_after = [not any(dominates(b, a) for b in after) for a in after]
        for point in before[is_front]:
            is_kept = (after == point).all(axis=1).any()
            is_beaten = any(dominates(other, point) for other in after)
            # Where all survivors are of one front, crowding may discard a member.
            assert is_kept or is_beaten or all(is_after)
    assert points[-1][:, -1].min() < points[0][:, -1].min() or np.ptp(points[-1], axis=0).all()


def test_another_objective_leads_to_another_front():
    """The largest gene falls where it counts."""
    counted = evolved("gemonn", "largest gene", "density")[-1][0]
    assert (
        counted.objectives["largest gene"].min()
        < 0.5 * np.abs(np.asarray(population()["first"])).max(axis=(1, 2)).max()
    )
    assert len(counted.loss) == SIZE
