"""Pareto dominance: ranks, crowding, survivors, knee and hypervolume of objectives [P, M].

All objectives are minimised. A point with an objective that is not finite counts as worse than
every point without one, whatever its other objectives. Equal points share a rank, and all but the
first of them have no crowding distance, so that copies survive last.

Sources: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6(2);
Jensen, "Reducing the run-time complexity of multiobjective EAs", IEEE TEVC 7(5).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Real

from gajax import sorting

_BLOCK = 128  # points that are ranked at once


def ranks(objectives: Real[Array, "P M"]) -> Int[Array, " P"]:
    """Rank of every point's front, 0 for those that no point dominates.

    Two objectives take O(P log P) time, other numbers of them O(P x P); both take O(P) memory.

    Example:
      >>> points = jnp.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])
      >>> gajax.pareto.ranks(points)
      Array([0, 0, 0, 1], dtype=int32)
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

    Example:
      >>> points = jnp.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
      >>> gajax.pareto.crowding(points)
      Array([ inf, 1.25, 1.25,  inf], dtype=float32)
    """
    rank = ranks(objectives) if rank is None else rank
    finite = _finite(objectives)
    values = jnp.where(finite[:, None], objectives, 0)
    counted = finite & ~_copies(values, finite)
    front = jnp.where(counted, rank, len(rank))
    orders = [sorting.lexsort(column, front, below=len(rank) + 1) for column in values.T]
    if len(orders) == 2:  # along a front one objective falls where the other rises
        orders[1] = orders[0]
    values = values.astype(jnp.float32) / 2  # so that no difference overflows
    distance = jnp.zeros(len(rank))
    for column, order in zip(values.T, orders, strict=True):
        distance = distance.at[order].add(_gaps(column[order], front[order]))
    return jnp.where(counted, distance, 0)


def _gaps(values: Float[Array, " P"], front: Int[Array, " P"]) -> Float[Array, " P"]:
    """Between the neighbours of each value, fronts standing together and sorted by it."""
    position = jnp.arange(len(values))
    begins = jnp.concatenate([jnp.ones(1, bool), front[1:] != front[:-1]])
    ends = jnp.concatenate([begins[1:], jnp.ones(1, bool)])
    first = lax.associative_scan(jnp.maximum, jnp.where(begins, position, 0))
    last = jnp.where(ends, position, len(values))
    last = lax.associative_scan(jnp.minimum, last, reverse=True)
    spread = jnp.abs(values[last] - values[first])
    following, before = (jnp.roll(values, shift) for shift in (-1, 1))
    share = jnp.abs(following - before) / jnp.where(spread > 0, spread, 1)
    return jnp.where(begins | ends, jnp.inf, jnp.where(spread > 0, share, 0))


def levels(rank: Int[Array, " P"], distance: Float[Array, " P"]) -> Int[Array, " P"]:
    """Place of every point by rank, then by crowding, 0 the best; equal points share a place.

    Example:
      >>> gajax.pareto.levels(jnp.array([0, 1, 0, 0]), jnp.array([jnp.inf, jnp.inf, 0.5, jnp.inf]))
      Array([0, 2, 1, 0], dtype=int32)
    """
    order = sorting.lexsort(-distance, rank, below=len(rank) + 1)
    rank, distance = rank[order], distance[order]
    is_next = (rank[1:] != rank[:-1]) | (distance[1:] != distance[:-1])
    place = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(is_next, dtype=jnp.int32)])
    return jnp.zeros_like(place).at[order].set(place)


def survivors(objectives: Real[Array, "P M"], count: int) -> Int[Array, " count"]:
    """The `count` points of lowest rank and, within the last front, of largest crowding distance.

    Best first; points that are equal in both stand in the order given.

    Example:
      >>> points = jnp.array([[0.0, 4.0], [1.0, 2.9], [2.0, 2.0], [4.0, 0.0], [5.0, 5.0]])
      >>> sorted(gajax.pareto.survivors(points, 3).tolist())
      [0, 2, 3]
    """
    rank = ranks(objectives)
    return sorting.lexsort(-crowding(objectives, rank), rank, below=len(rank) + 1)[:count]


def knee(objectives: Real[Array, "P M"]) -> Int[Array, ""]:
    """The front member farthest from the hyperplane through the front's extreme points.

    These have the largest value of each objective; for two objectives they are the ends of the
    front and the hyperplane is a line. Objectives are measured as shares of the front's range, so
    their units do not matter. The first point of the front where no other is off the hyperplane.

    Example:
      >>> points = jnp.array([[0.0, 1.0], [0.2, 0.3], [0.5, 0.2], [1.0, 0.0]])
      >>> int(gajax.pareto.knee(points))
      1
    """
    front = (ranks(objectives) == 0) & _finite(objectives)
    # An eighth, so that no range overflows, and no inverse of one vanishes.
    values = objectives.astype(jnp.float32) / 8
    member = front[:, None]
    lowest = jnp.min(values, axis=0, where=member, initial=jnp.inf)
    highest = jnp.max(values, axis=0, where=member, initial=-jnp.inf)
    varies = highest > lowest
    share = (values - lowest[None]) / jnp.where(varies, highest - lowest, 1)[None]
    share = jnp.where(member & varies[None], share, 0)
    extremes = jnp.where(varies[:, None], share[jnp.argmax(share, axis=0)], 0)
    # Of several hyperplanes through equal extreme points, the normal of least length.
    normal, *_ = jnp.linalg.lstsq(extremes, varies.astype(jnp.float32))
    distance = jnp.abs(jnp.sum(share * normal[None], axis=1) - 1)
    return jnp.argmax(jnp.where(front, distance, -1))


def hypervolume(
    objectives: Real[Array, "P M"], reference: tuple[float, ...] | Real[Array, " M"]
) -> Float[Array, ""]:
    """Area or volume that the points dominate and that dominates the reference point, exactly.

    Two objectives take O(P log P) time, three O(P x P); both take O(P) memory. ValueError for
    other numbers of objectives, or a reference of another.

    Example:
      >>> points = jnp.array([[0.0, 0.5], [0.5, 0.0]])
      >>> float(gajax.pareto.hypervolume(points, (1.0, 1.0)))
      0.75
    """
    reference = jnp.asarray(reference, jnp.float32)
    count = objectives.shape[1]
    if count not in (2, 3) or reference.shape != (count,):
        raise ValueError(
            "hypervolume takes points and a reference of 2 or 3 objectives, "
            f"not {objectives.shape} and {reference.shape}"
        )
    counted = _finite(objectives) & (objectives < reference[None]).all(axis=1)
    inside = jnp.where(counted[:, None], objectives, reference[None]).astype(jnp.float32)
    x, y, *_ = inside[jnp.argsort(inside[:, 0])].T
    width = jnp.diff(x, append=reference[0])

    def area(lowest: Float[Array, " P"]) -> Float[Array, ""]:
        return jnp.sum(width * (reference[1] - lowest))

    if count == 2:
        return area(lax.cummin(y))

    def add(lowest: Array, point: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        first, second, depth = point
        lowest = jnp.where(x >= first, jnp.minimum(lowest, second), lowest)
        return lowest, depth * area(lowest)

    first, second, third = inside[jnp.argsort(inside[:, 2])].T
    slices = first, second, jnp.diff(third, append=reference[2])
    return jnp.sum(lax.scan(add, jnp.full_like(y, reference[1]), slices)[1])


def _finite(objectives: Real[Array, "P M"]) -> Bool[Array, " P"]:
    return jnp.isfinite(objectives).all(axis=1)


def _copies(objectives: Real[Array, "P M"], finite: Bool[Array, " P"]) -> Bool[Array, " P"]:
    """Whether a point is equal to one that stands before it."""
    order = sorting.lexsort(*objectives.T[::-1], ~finite)
    return jnp.zeros(len(finite), bool).at[order].set(_repeated(objectives[order]))


def _repeated(ordered: Real[Array, "P M"]) -> Bool[Array, " P"]:
    return jnp.concatenate([jnp.zeros(1, bool), (ordered[1:] == ordered[:-1]).all(axis=1)])


def _two_objectives(objectives: Real[Array, "P 2"], finite: Bool[Array, " P"]) -> Int[Array, " P"]:
    """Ranks in one pass over the points, sorted by the first objective and then by the second.

    Who dominates a point stands before it, and among those it is enough to know the lowest second
    objective of each front: these rise from front to front, so a search finds the first front
    without a dominator. Points are taken in blocks: a search for the whole block, then the
    dominance within it until no rank changes.
    """
    size = len(objectives)
    order = sorting.lexsort(*objectives.T[::-1], ~finite)
    ordered = objectives[order]
    is_copy = _repeated(ordered)
    counted = finite[order] & ~is_copy
    block = min(_BLOCK, size)
    padding = -size % block
    # Places instead of values: they have a number above them all, whatever the type.
    words = sorting.words(ordered[:, 1])[0] if ordered.dtype.itemsize <= 4 else ordered[:, 1]
    second = jnp.searchsorted(jnp.sort(words), words).astype(jnp.int32)
    second = jnp.pad(second, (0, padding)).reshape(-1, block)
    counts = jnp.pad(counted, (0, padding)).reshape(-1, block)
    is_earlier = jnp.arange(block)[:, None] < jnp.arange(block)[None]

    def place(lowest: Array, points: tuple[Array, Array]) -> tuple[Array, Array]:
        values, counted = points
        above = jnp.searchsorted(lowest, values, side="right", method="scan")
        no_worse = values[:, None] <= values[None]
        dominates = is_earlier & no_worse & counted[:, None] & counted[None]
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
    """Ranks in one pass over the points in lexical order, in which dominators come first.

    Points are taken in blocks: a look at all points that have their rank already, then the
    dominance within the block until no rank changes.
    """
    size = len(objectives)
    order = sorting.lexsort(*objectives.T[::-1], ~finite)
    block = min(_BLOCK, size)
    padding = -size % block
    points = jnp.pad(objectives[order], ((0, padding), (0, 0)))
    counted = jnp.pad(finite[order], (0, padding))

    def place(rank: Array, start: Array) -> tuple[Array, None]:
        own = lax.dynamic_slice_in_dim(points, start, block)
        no_worse = jnp.broadcast_to(counted, (block, len(counted)))
        better = jnp.zeros_like(no_worse)
        for mine, theirs in zip(own.T, points.T, strict=True):
            no_worse &= theirs[None] <= mine[:, None]
            better |= theirs[None] < mine[:, None]
        dominated_by = no_worse & better
        # Those without a rank yet have -1 and so do not count.
        above = jnp.max(jnp.where(dominated_by, (rank + 1)[None], 0), axis=1)
        within = lax.dynamic_slice_in_dim(dominated_by, start, block, axis=1)
        return lax.dynamic_update_slice_in_dim(rank, _chains(within.T, above), start, 0), None

    rank = jnp.full(size + padding, -1, jnp.int32)
    rank, _ = lax.scan(place, rank, jnp.arange(0, size + padding, block))
    return jnp.zeros(size, jnp.int32).at[order].set(rank[:size])


def _chains(dominates: Bool[Array, "K K"], above: Int[Array, " K"]) -> Int[Array, " K"]:
    """For each point the longest chain of dominators that leads to it, from `above` on."""

    def extend(ranks: tuple[Array, Array]) -> tuple[Array, Array]:
        rank, _ = ranks
        longest = jnp.max(jnp.where(dominates, rank[:, None] + 1, 0), axis=0)
        return jnp.maximum(above, longest), rank

    return lax.while_loop(lambda ranks: (ranks[0] != ranks[1]).any(), extend, (above, above - 1))[0]
