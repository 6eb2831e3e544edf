"""Knee and hypervolume of fronts, against brute force and moocore."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points import draw, expected_ranks

from gajax import pareto

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

RANKS, KNEE = jax.jit(pareto.ranks), jax.jit(pareto.knee)
HYPERVOLUME = jax.jit(pareto.hypervolume)


@pytest.mark.parametrize("scale", [(1, 1), (1e-6, 1e6), (1e30, 1e-20)])
@pytest.mark.parametrize("third", [[], [1.0], [1e9]])
def test_the_knee_does_not_depend_on_units(scale, third):
    points = np.array([[0, 10], [1, 7], [2, 2], [6, 1], [10, 0], [9, 9], [0, 11]])
    if third:  # farthest from the plane through the points 4, 1 and 0
        points = np.c_[points, [0, 9, 2, 3, 3, 9, 9]]
    assert KNEE(jnp.asarray((points + 3) * [*scale, *third], jnp.float32)) == 2


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_knee_is_farthest_from_the_plane_through_the_extreme_points(count):
    checked = 0
    for seed in range(40):
        points = draw(40, count, highest=500, seed=seed, broken=0.04).astype(np.float64)
        front = np.flatnonzero((expected_ranks(points) == 0) & np.isfinite(points).all(axis=1))
        spread = np.ptp(points[front], axis=0)
        if not spread.all():
            continue
        share = (points[front] - points[front].min(axis=0)) / spread
        extremes = share[share.argmax(axis=0)]
        if np.linalg.cond(extremes) > 1e3:  # some are equal, or the plane leads nearly to 0
            continue
        normal = np.linalg.solve(extremes, np.ones(count))
        distance = abs(share @ normal - 1)
        far, *less = sorted(distance, reverse=True)
        if far > 1.001 * max(less, default=far):
            assert KNEE(jnp.asarray(points, jnp.float32)) == front[distance.argmax()]
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("columns", [[0, 1, 1], [0, 0, 1, 1], [0, 1, 2], [2, 1, 0, 0]])
def test_objectives_that_are_repeated_or_constant_do_not_change_the_knee(columns):
    for seed in range(10):
        points = draw(40, 2, highest=500, seed=seed)
        points = points[np.argsort(points.sum(axis=1))]  # the first one is of the front
        points = np.c_[points, np.full(40, 7.0)]
        expected = KNEE(jnp.asarray(points[:, :2], jnp.float32))
        assert KNEE(jnp.asarray(points[:, columns], jnp.float32)) == expected


@pytest.mark.parametrize(
    "points, knee",
    [
        ([[2, 3]], 0),
        ([[np.nan, 0], [np.inf, 1]], 0),
        ([[np.nan, 0], [5, 5], [5, 5]], 1),
        ([[9, 9], [0, 1], [1, 0]], 1),  # no point is off the line
        ([[-3e37, 3e37], [0, -1e37], [3e37, -3e37]], 1),
        ([[4], [3], [3]], 1),
        ([[4, 4, 4]] * 3, 0),
        ([[np.nan, 1, 1]] * 3, 0),
        ([[1, 1, 1], [0, 0, 0]], 1),
    ],
)
def test_the_knee_of_awkward_fronts(points, knee):
    assert KNEE(jnp.array(points, jnp.float32)) == knee


@pytest.mark.parametrize("reference", [[9, 12], [9, 12, 4]])
@pytest.mark.parametrize("jit", [False, True])
def test_hypervolume_counts_the_cells_that_some_point_dominates(jit, reference):
    hypervolume = HYPERVOLUME if jit else pareto.hypervolume
    for seed in range(4):
        points = draw(25, len(reference), highest=20, seed=seed, broken=0.1)
        cells = np.stack(np.meshgrid(*[np.arange(-20, end) for end in reference]), axis=-1)
        covered = np.zeros(cells.shape[:-1], bool)
        for point in points[np.isfinite(points).all(axis=1)]:
            covered |= (point <= cells).all(axis=-1)
        assert hypervolume(jnp.asarray(points), jnp.array(reference)) == covered.sum() > 0


@pytest.mark.parametrize("size", [1, 2, 7, 50, 200])
@pytest.mark.parametrize("count", [2, 3])
def test_hypervolume_is_that_of_moocore(size, count):
    moocore = pytest.importorskip("moocore")
    random = np.random.default_rng(size)
    reference = (1.5, 1.2, 0.8)[:count]
    direction = abs(random.normal(size=(size, count)))
    fronts = {
        "random": random.normal(size=(size, count)),
        "sphere": 1 - direction / np.linalg.norm(direction, axis=1, keepdims=True),
        "ties": random.integers(-3, 2, (size, count)) / 4,
        "copies": random.normal(size=(size, count))[random.integers(0, size, size)],
        "outside": random.normal(size=(size, count)) + 2,
        "broken": draw(size, count, highest=2, broken=0.3),
    }
    for name, points in fronts.items():
        points = points.astype(np.float32)
        finite = points[np.isfinite(points).all(axis=1)].astype(float)
        expected = moocore.hypervolume(finite, ref=reference) if len(finite) else 0
        result = HYPERVOLUME(jnp.asarray(points), jnp.array(reference))
        np.testing.assert_allclose(result, expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("count", [2, 3])
def test_hypervolume_is_zero_where_nothing_dominates_the_reference(count):
    points = jnp.array([[1, 0, 0], [0, 1, 0], [2, 2, 0], [jnp.nan, 0, 0], [-jnp.inf, 0, 0]])
    for reference in [(1.0, 1.0, 1.0), (0.5, 0.5, 1.0), (-9.0, 9.0, 9.0)]:
        assert pareto.hypervolume(points[:, :count], reference[:count]) == 0
    assert pareto.hypervolume(jnp.zeros((3, 3)), (1.0, 1.0, 0.0)) == 0


def test_hypervolume_of_many_seeds_at_once():
    points = jnp.stack([draw(30, 3, seed=seed, broken=0.1) for seed in range(3)])
    reference = jnp.array([5, 4, 3])
    expected = [HYPERVOLUME(some, reference) for some in points]
    result = jax.vmap(pareto.hypervolume, (0, None))(points, reference)
    np.testing.assert_allclose(result, jnp.stack(expected), rtol=1e-6)


def test_hypervolume_needs_memory_in_proportion_to_the_points():
    points, reference = jax.ShapeDtypeStruct((2_000, 3), jnp.float32), jnp.ones(3)
    memory = HYPERVOLUME.lower(points, reference).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 400 * 2_000


@pytest.mark.parametrize("count, length", [(1, 1), (4, 4), (2, 3), (3, 2), (3, 1)])
def test_hypervolume_of_other_numbers_of_objectives(count, length):
    function = getattr(pareto.hypervolume, "__wrapped__", pareto.hypervolume)  # without beartype
    sentence = (
        rf"points and a reference of 2 or 3 objectives, not \(5, {count}\) and \({length},\)$"
    )
    with pytest.raises(ValueError, match=sentence):
        function(jnp.zeros((5, count)), (1.0,) * length)


def test_knee_of_huge_values():
    points = jnp.array([[-3e38, 3e38], [0, -1e38], [3e38, -3e38]], jnp.float32)
    assert pareto.knee(points) == 1
