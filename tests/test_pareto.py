"""Pareto dominance against brute force, with ties, copies and points that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points import draw, expected_ranks

from gajax import pareto

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

SHAPES = [(size, 2) for size in (1, 2, 60, 127, 128, 129, 257, 300)]  # 128 points are a block
SHAPES += [(1, 1), (127, 1), (129, 1), (1, 3), (128, 3), (129, 3), (300, 3), (40, 4)]
RANKS, CROWDING = jax.jit(pareto.ranks), jax.jit(pareto.crowding)
SURVIVORS = jax.jit(pareto.survivors, static_argnums=1)


def expected_crowding(points, rank):
    """One front, one objective and one point after another."""
    total = np.zeros(len(points))
    for front in np.unique(rank):
        members = []
        for index in np.flatnonzero(rank == front):
            copied = any((points[index] == points[other]).all() for other in members)
            if np.isfinite(points[index]).all() and not copied:
                members.append(index)
        for values in np.asarray(points, np.float64).T:
            order = sorted(members, key=lambda index, values=values: values[index])
            for place, index in enumerate(order):
                if place in (0, len(order) - 1):
                    total[index] = np.inf
                elif values[order[-1]] > values[order[0]]:
                    gap = values[order[place + 1]] - values[order[place - 1]]
                    total[index] += gap / (values[order[-1]] - values[order[0]])
    return total


def check(result, points):
    np.testing.assert_array_equal(result, expected_ranks(points))


@pytest.mark.parametrize("size, count", SHAPES)
def test_ranks_are_those_of_brute_force(size, count):
    for highest in (1, 6, 1000):
        for broken in (0, 0.1, 1):
            points = draw(size, count, highest=highest, broken=broken)
            check(RANKS(jnp.asarray(points)), points)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bfloat16])
@pytest.mark.parametrize("count", [2, 3])
def test_ranks_do_not_depend_on_the_type(count, dtype):
    points = abs(draw(140, count))
    check(RANKS(jnp.asarray(points, dtype)), points)


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_without_jit(count):
    points = draw(140, count, broken=0.05)
    check(pareto.ranks(jnp.asarray(points)), points)


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_are_those_of_pymoo(count):
    sorting = pytest.importorskip("pymoo.util.nds.fast_non_dominated_sort")
    for seed in range(5):
        points = np.unique(draw(200, count, highest=9, seed=seed), axis=0)[:120]
        expected = np.zeros(len(points), int)
        for rank, front in enumerate(sorting.fast_non_dominated_sort(points.astype(float))):
            expected[front] = rank
        np.testing.assert_array_equal(RANKS(jnp.asarray(points)), expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ranks_follow_a_permutation_of_the_points(count):
    points = draw(129 if count == 1 else 300, count, broken=0.02)
    order = np.random.default_rng(0).permutation(len(points))
    np.testing.assert_array_equal(
        RANKS(jnp.asarray(points[order])), np.asarray(RANKS(jnp.asarray(points)))[order]
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_chain_has_as_many_fronts_as_points(count):
    place = np.random.default_rng(1).permutation(129 if count == 1 else 300)
    chain = jnp.asarray(np.repeat(place[:, None], count, axis=1), jnp.float32)
    np.testing.assert_array_equal(RANKS(chain), place)


def test_points_without_one_finite_value_share_the_first_rank():
    points = jnp.full((5, 2), jnp.nan).at[1].set(jnp.inf)
    np.testing.assert_array_equal(RANKS(points), [0] * 5)
    np.testing.assert_array_equal(CROWDING(points), [0] * 5)
    np.testing.assert_array_equal(SURVIVORS(points, 3), [0, 1, 2])


@pytest.mark.parametrize("size, count, most", [(20_000, 2, 400), (2_000, 3, 2 * 3 * 2_000)])
def test_ranks_need_little_memory(size, count, most):
    """Bytes a point: a constant for two objectives, else less than a second P x P x M."""
    points = jax.ShapeDtypeStruct((size, count), jnp.float32)
    memory = RANKS.lower(points).compile().memory_analysis()
    assert memory.temp_size_in_bytes < most * size


@pytest.mark.parametrize("count, jit", [(1, True), (2, True), (3, True), (2, False)])
def test_crowding_is_that_of_brute_force(count, jit):
    crowding = CROWDING if jit else pareto.crowding
    for seed in range(6 if jit else 1):
        points = draw(80, count, highest=[3, 9, 500][seed % 3], seed=seed, broken=0.05 * (seed % 2))
        expected = expected_crowding(points, expected_ranks(points))
        np.testing.assert_allclose(crowding(jnp.asarray(points)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "points, expected",
    [
        ([[0, 4], [1, 2], [4, 0]], [np.inf, 2, np.inf]),
        ([[0, 4], [1, 2], [1, 2], [4, 0], [0, 4]], [np.inf, 2, 0, np.inf, 0]),
        ([[0, 7, 4], [1, 7, 2], [4, 7, 0]], [np.inf, 2, np.inf]),  # one objective has no range
        ([[3, 3]] * 4, [np.inf, 0, 0, 0]),
        ([[-3e38, 3e38], [0, 0], [3e38, -3e38]], [np.inf, 2, np.inf]),
        ([[0, 1], [np.nan, 2], [1, 0], [np.inf, -np.inf]], [np.inf, 0, np.inf, 0]),
    ],
)
def test_crowding_of_awkward_fronts(points, expected):
    points = jnp.array(points, jnp.float32)
    fronts = jnp.zeros(len(points), jnp.int32)
    np.testing.assert_allclose(CROWDING(points, fronts), expected)


def test_levels_count_the_different_pairs_of_rank_and_crowding():
    rank = jnp.array([1, 0, 0, 1, 0, 0, 2])
    distance = jnp.array([5.0, 2.0, jnp.inf, 5.0, jnp.inf, 2.0, jnp.inf])
    np.testing.assert_array_equal(pareto.levels(rank, distance), [2, 1, 0, 2, 0, 1, 3])


@pytest.mark.parametrize("broken", [0, 0.2, 0.7])
@pytest.mark.parametrize("objectives", [2, 3])
def test_survivors_are_cut_from_whole_fronts_by_crowding(objectives, broken):
    points = draw(90, objectives, broken=broken)
    rank = expected_ranks(points)
    distance = expected_crowding(points, rank).astype(np.float32)
    result = np.asarray(SURVIVORS(jnp.asarray(points), 90))
    assert sorted(result) == list(range(90))
    places = [(rank[index], -distance[index], index) for index in result]
    for one, two in zip(places, places[1:], strict=False):
        assert one < two or (one[0] == two[0] and np.isclose(one[1], two[1]))
    finite = np.isfinite(points).all(axis=1)[result]
    assert (np.diff(finite.astype(int)) <= 0).all(), "finite ones stand before all others"


@pytest.mark.parametrize("objectives", [2, 3])
def test_no_point_survives_from_behind_the_front_that_is_cut(objectives):
    points = draw(40, objectives, broken=0.1)
    rank = expected_ranks(points)
    first, second, *_ = np.cumsum(np.bincount(rank))
    for count, last in [(first, 0), (first + 1, 1), (second, 1)]:
        chosen = np.asarray(SURVIVORS(jnp.asarray(points), int(count)))
        assert len(set(chosen)) == len(chosen) == count and rank[chosen].max() == last
        assert set(np.flatnonzero(rank < last)) <= set(chosen)


def test_copies_survive_last_in_their_front_but_before_the_next():
    points = jnp.array([[0, 2], [0, 2], [1, 1], [2, 0], [2, 0], [1, 1], [2, 2], [0, 2]])
    survivors = [int(index) for index in SURVIVORS(points, 8)]
    assert set(survivors[:2]) == {0, 3}
    assert survivors[2:] == [2, 1, 4, 5, 7, 6]


@pytest.mark.parametrize(
    "points, dtype, expected",
    [
        ([[0, 2**31 - 1], [1, 2**31 - 1], [2, 5]], jnp.int32, [0, 1, 0]),
        ([[0, 2**31 + 5], [1, 3], [2, 5]], jnp.uint32, [0, 0, 1]),
    ],
)
def test_ranks_of_large_integers(points, dtype, expected):
    assert pareto.ranks(jnp.array(points, dtype)).tolist() == expected
