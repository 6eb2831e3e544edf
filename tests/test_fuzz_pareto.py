"""Pareto sorting of whatever points there are, against brute force and what must always hold."""

import jax
import jax.numpy as jnp
import numpy as np
from fuzzing import fuzz, numbers
from hypothesis import strategies as st
from test_pareto import expected_crowding, expected_ranks

from gajax import pareto

# A program is compiled for each of these.
KINDS = [(140, 2, "float32"), (20, 3, "float32"), (7, 1, "int32")]
KINDS += [(20, 2, "uint8"), (20, 2, "float16"), (140, 4, "float32"), (1, 2, "float32")]
MEASURED = [kind for kind in KINDS if kind[1] in (2, 3)]
TINY = np.finfo(np.float32).tiny
POINTS = {
    "seed": st.integers(0, 2**32 - 1),
    "values": numbers(10),
    "kind": st.sampled_from(KINDS[:3]),
    "more": {"kind": st.sampled_from(KINDS)},
}


@jax.jit
def judge(points):
    rank = pareto.ranks(points)
    distance = pareto.crowding(points, rank)
    ordered = pareto.survivors(points, len(points))
    return rank, distance, pareto.levels(rank, distance), ordered


@jax.jit
def measure(points, reference):
    alone = jnp.broadcast_to(points[:1], points.shape)
    areas = [pareto.hypervolume(some, reference) for some in (points, alone)]
    return pareto.knee(points), *areas


def draw(seed, values, kind):
    """Points of few values, so of many ties, as the type holds them."""
    *shape, dtype = kind
    points = np.random.default_rng(seed).choice(np.float32(values), shape)
    if dtype.startswith(("int", "uint")):
        points = np.nan_to_num(points).clip(0 if dtype == "uint8" else -(2**31), 255)
    with np.errstate(over="ignore"):
        return points.astype(dtype)


def flushed(points):
    """The points as they are compared: what is below the smallest normal number is zero."""
    points = points.astype(np.float64)
    return np.where(abs(points) < TINY, 0, points)


@fuzz(40, 1_500, **POINTS)
def test_ranks_crowding_and_levels(seed, values, kind, folder):
    points = draw(seed, values, kind)
    rank, distance, level, _ = map(np.asarray, judge(points))
    exact = flushed(points)
    np.testing.assert_array_equal(rank, expected_ranks(exact))
    np.testing.assert_allclose(distance, expected_crowding(exact, rank), rtol=1e-5, atol=1e-6)
    places = np.lexsort((-distance, rank))
    assert (np.diff(level[places]) >= 0).all() and level[places[0]] == 0
    same = (np.diff(rank[places]) == 0) & (distance[places][1:] == distance[places][:-1])
    np.testing.assert_array_equal(np.diff(level[places]), ~same)


@fuzz(30, 1_200, **POINTS)
def test_a_permutation_changes_only_which_copy_is_first(seed, values, kind, folder):
    points = draw(seed, values, kind)
    order = np.random.default_rng(seed + 1).permutation(len(points))
    rank, distance, *_ = map(np.asarray, judge(points))
    other_rank, other_distance, *_ = map(np.asarray, judge(points[order]))
    np.testing.assert_array_equal(other_rank, rank[order])
    if points.shape[1] > 2:  # of several ends of a front the first given counts
        return
    names, name = np.unique(flushed(points), axis=0, return_inverse=True)
    most, other_most = (np.zeros(len(names)) for _ in range(2))
    np.maximum.at(most, name.reshape(-1), distance)
    np.maximum.at(other_most, name.reshape(-1)[order], other_distance)
    np.testing.assert_allclose(other_most, most, rtol=1e-5, atol=1e-6)


@fuzz(30, 1_200, share=st.sampled_from([0.0, 0.3, 0.5, 1.0]), **POINTS)
def test_survivors_are_a_valid_selection(seed, values, kind, share, folder):
    points = draw(seed, values, kind)
    count = max(1, round(share * len(points)))
    rank, distance, _, ordered = map(np.asarray, judge(points))
    chosen = ordered[:count]
    assert len({*chosen.tolist()}) == len(chosen) == count
    assert (np.diff(rank[chosen]) >= 0).all()
    left = np.setdiff1d(np.arange(len(points)), chosen)
    last = rank[chosen[-1]]
    assert (rank[left] >= last).all()
    rivals = distance[left][rank[left] == last]
    assert (rivals <= distance[chosen[-1]]).all()
    finite = np.isfinite(points.astype(np.float64)).all(axis=1)
    assert finite[chosen].sum() == min(count, finite.sum())


def volume(points, reference):
    """The hypervolume in float64: of slices, and there one point after another."""
    points = points[np.isfinite(points).all(axis=1) & (points < reference).all(axis=1)]
    if len(reference) == 3:
        points = points[np.argsort(points[:, 2])]
        depths = np.diff(points[:, 2], append=reference[2])
        slices = [volume(points[:count, :2], reference[:2]) for count in range(1, len(points) + 1)]
        return float(depths @ slices) if slices else 0.0
    total, lowest = 0.0, reference[1]
    for x, y in points[np.lexsort((points[:, 1], points[:, 0]))]:
        total += max(0.0, lowest - y) * (reference[0] - x)
        lowest = min(lowest, y)
    return total


@fuzz(
    40,
    1_500,
    reference=st.tuples(*[st.floats(-100, 100, width=16)] * 3),
    **POINTS | {"kind": st.sampled_from(KINDS[:2]), "more": {"kind": st.sampled_from(MEASURED)}},
)
def test_the_knee_is_on_the_front_and_the_hypervolume_exact(seed, values, kind, reference, folder):
    points = draw(seed, values, kind)
    exact, reference = flushed(points), reference[: kind[1]]
    index, result, alone = map(float, measure(points, np.float32(reference)))
    finite = np.isfinite(exact).all(axis=1)
    assert 0 <= index < len(points)
    assert not finite.any() or (finite[int(index)] and expected_ranks(exact)[int(index)] == 0)
    if abs(exact[np.isfinite(exact)]).max(initial=0) > 1e36 ** (1 / kind[1]):
        return  # float32 cannot hold the area or volume
    # Each width and height is rounded once, relative to the largest numbers there are.
    scale = (abs(exact[np.isfinite(exact)]).max(initial=0) + max(map(abs, reference))) ** kind[1]
    assert abs(result - volume(exact, np.float64(reference))) <= 1e-5 * scale
    assert 0 <= alone <= result + 1e-5 * scale
