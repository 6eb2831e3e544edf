"""Pareto dominance: ranks, crowding, survivors, knee and hypervolume of objectives [P, M].

All objectives are minimised. A point with an objective that is not finite counts as worse than
every point without one, whatever its other objectives. Equal points share a rank, and all but the
first of them have no crowding distance, so that copies survive last.

Sources: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6(2);
Jensen, "Reducing the run-time complexity of multiobjective EAs", IEEE TEVC 7(5).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Real

_BLOCK = 128


def ranks(objectives: Real[Array, "P M"]) -> Int[Array, " P"]:
    """Rank of every point's front, 0 for those that nobody dominates.

    Two objectives take O(P log P) time and O(P) memory; other numbers of them one comparison of
    each pair for each front, and a matrix of P x P truth values.
    """
    finite = _finite(objectives)
    objectives = jnp.where(finite[:, None], objectives, 0)
    sort = _two_objectives if objectives.shape[1] == 2 else _many_objectives
    rank = sort(objectives, finite)
    return jnp.where(finite, rank, jnp.max(jnp.where(finite, rank, -1)) + 1)


def crowding(
    objectives: Real[Array, "P M"], rank: Int[Array, " P"] | None = None
) -> Float[Array, " P"]:
    """Distance between a point's neighbours within its front, as a share of the front's range.

    Summed over the objectives; infinite at the ends of a front, 0 for copies and for points that
    are not finite. An objective that is the same all over a front adds nothing.
    """
    rank = ranks(objectives) if rank is None else rank
    counted = _finite(objectives) & ~_copies(objectives)
    front = jnp.where(counted, rank, jnp.iinfo(rank.dtype).max)

    def along(values: Array) -> Array:
        order = jnp.lexsort((values, front))
        values, fronts = values[order], front[order]
        first = jnp.searchsorted(fronts, fronts, side="left")
        last = jnp.searchsorted(fronts, fronts, side="right") - 1
        position = jnp.arange(len(values))
        is_end = (position == first) | (position == last)
        values = values / 2  # so that no difference overflows
        spread = values[last] - values[first]
        gap = values[jnp.minimum(position + 1, last)] - values[jnp.maximum(position - 1, first)]
        share = jnp.where(spread > 0, gap / jnp.where(spread > 0, spread, 1), 0)
        return jnp.zeros(len(values)).at[order].set(jnp.where(is_end, jnp.inf, share))

    objectives = jnp.where(counted[:, None], objectives, 0).astype(jnp.float32)
    return jnp.where(counted, jnp.sum(jax.vmap(along, 1, 1)(objectives), axis=1), 0)


def levels(rank: Int[Array, " P"], distance: Float[Array, " P"]) -> Int[Array, " P"]:
    """Place of every point by rank, then by crowding, 0 the best; equal points share a place."""
    order = jnp.lexsort((-distance, rank))
    rank, distance = rank[order], distance[order]
    is_next = (rank[1:] != rank[:-1]) | (distance[1:] != distance[:-1])
    place = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(is_next, dtype=jnp.int32)])
    return jnp.zeros_like(place).at[order].set(place)


def survivors(objectives: Real[Array, "P M"], count: int) -> Int[Array, " count"]:
    """The `count` points of lowest rank and, within the last front, of largest crowding distance.

    Best first; points that are equal in both stand in the order given.
    """
    rank = ranks(objectives)
    return jnp.lexsort((-crowding(objectives, rank), rank))[:count]


def knee(objectives: Real[Array, "P 2"]) -> Int[Array, ""]:
    """The front member farthest from the line through the front's two ends.

    The unit of an objective does not matter. The first point of the front where no other is off
    the line.
    """
    front = (ranks(objectives) == 0) & _finite(objectives)
    x, y = objectives.astype(jnp.float32).T / 8  # so that no difference overflows
    left = jnp.argmin(jnp.where(front, x, jnp.inf))
    right = jnp.argmin(jnp.where(front, y, jnp.inf))
    width, height = x[right] - x[left], y[right] - y[left]
    width, height = (jnp.where(side == 0, 1, side) for side in (width, height))
    distance = jnp.abs((x - x[left]) / width - (y - y[left]) / height)
    return jnp.argmax(jnp.where(front, distance, -1))


def hypervolume(
    objectives: Real[Array, "P 2"], reference: tuple[float, float] | Real[Array, "2"]
) -> Float[Array, ""]:
    """Area that the points dominate and that dominates the reference point, exactly."""
    reference = jnp.asarray(reference, jnp.float32)
    counted = _finite(objectives) & (objectives < reference).all(axis=1)
    inside = jnp.where(counted[:, None], objectives, reference).astype(jnp.float32)
    x, y = inside[jnp.lexsort((inside[:, 1], inside[:, 0]))].T
    lowest = lax.cummin(y)
    width = jnp.concatenate([x[1:], reference[:1]]) - x
    return jnp.sum(width * (reference[1] - lowest))


def _finite(objectives: Real[Array, "P M"]) -> Bool[Array, " P"]:
    return jnp.isfinite(objectives).all(axis=1)


def _copies(objectives: Real[Array, "P M"]) -> Bool[Array, " P"]:
    """Whether a point is equal to one that stands before it."""
    order = jnp.lexsort(tuple(objectives.T))
    ordered = objectives[order]
    repeated = jnp.concatenate([jnp.zeros(1, bool), (ordered[1:] == ordered[:-1]).all(axis=1)])
    return jnp.zeros_like(repeated).at[order].set(repeated)


def _two_objectives(objectives: Real[Array, "P 2"], finite: Bool[Array, " P"]) -> Int[Array, " P"]:
    """Ranks in one pass over the points, sorted by the first objective and then by the second.

    Who dominates a point stands before it, and among those it is enough to know the lowest second
    objective of each front: these rise from front to front, so a search finds the first front
    without a dominator. Points are taken in blocks: a search for the whole block, then the
    dominance within it until no rank changes.
    """
    size = len(objectives)
    order = jnp.lexsort((objectives[:, 1], objectives[:, 0], ~finite))
    ordered = objectives[order]
    is_copy = jnp.concatenate([jnp.zeros(1, bool), (ordered[1:] == ordered[:-1]).all(axis=1)])
    counted = finite[order] & ~is_copy
    block = min(_BLOCK, size)
    padding = -size % block
    # Places instead of values: they have a number above them all, whatever the type.
    second = jnp.searchsorted(jnp.sort(ordered[:, 1]), ordered[:, 1]).astype(jnp.int32)
    second = jnp.pad(second, (0, padding)).reshape(-1, block)
    counts = jnp.pad(counted, (0, padding)).reshape(-1, block)
    is_earlier = jnp.arange(block)[:, None] < jnp.arange(block)

    def place(lowest: Array, points: tuple[Array, Array]) -> tuple[Array, Array]:
        values, counted = points
        above = jnp.searchsorted(lowest, values, side="right", method="scan")
        dominates = is_earlier & (values[:, None] <= values) & counted[:, None] & counted
        rank = _chains(dominates, above.astype(jnp.int32))
        values = jnp.where(counted, values, size)
        return lowest.at[rank].min(values, mode="drop"), rank

    empty = jnp.full(size, size, jnp.int32)
    _, rank = lax.scan(place, empty, (second, counts))
    rank = rank.reshape(-1)[:size]
    # A copy takes the rank of the first of its kind, which stands just before its kind's copies.
    leader = lax.cummax(jnp.where(is_copy, 0, jnp.arange(size)))
    return jnp.zeros(size, jnp.int32).at[order].set(rank[leader])


def _many_objectives(objectives: Real[Array, "P M"], finite: Bool[Array, " P"]) -> Int[Array, " P"]:
    """Ranks from a matrix of who dominates whom, which is filled row by row."""

    def dominated(row: tuple[Array, Array]) -> Array:
        point, is_finite = row
        no_worse = better = jnp.ones(len(objectives), bool)
        better = ~better
        for index in range(objectives.shape[1]):
            no_worse &= point[index] <= objectives[:, index]
            better |= point[index] < objectives[:, index]
        return no_worse & better & is_finite & finite

    dominates = lax.map(dominated, (objectives, finite), batch_size=_BLOCK)
    return _chains(dominates, jnp.zeros(len(objectives), jnp.int32))


def _chains(dominates: Bool[Array, "K K"], above: Int[Array, " K"]) -> Int[Array, " K"]:
    """For each point the longest chain of dominators that leads to it, from `above` on."""

    def extend(ranks: tuple[Array, Array]) -> tuple[Array, Array]:
        rank, _ = ranks
        longest = jnp.max(jnp.where(dominates, rank[:, None] + 1, 0), axis=0)
        return jnp.maximum(above, longest), rank

    return lax.while_loop(lambda ranks: (ranks[0] != ranks[1]).any(), extend, (above, above - 1))[0]
