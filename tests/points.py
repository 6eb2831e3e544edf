"""Points in several objectives, for the tests of dominance."""

import numpy as np


def draw(size, count, *, highest=6, seed=0, broken=0.0):
    """Integer points with many ties, a share of their values not finite."""
    random = np.random.default_rng([size, count, seed])
    points = random.integers(-highest, highest + 1, (size, count)).astype(np.float32)
    bad = random.choice(np.float32([np.nan, np.inf, -np.inf]), points.shape)
    return np.where(random.random(points.shape) < broken, bad, points)


def expected_ranks(points):
    """Fronts peeled off one by one; points that are not finite behind them all."""
    points = np.asarray(points, np.float64)
    finite = np.isfinite(points).all(axis=1)
    rank, left, front = np.zeros(len(points), int), finite.copy(), 0
    while left.any():
        some = points[left]
        no_worse = (some[:, None] <= some).all(axis=2)
        better = (some[:, None] < some).any(axis=2)
        best = np.flatnonzero(left)[~(no_worse & better).any(axis=0)]
        rank[best], front = front, front + 1
        left[best] = False
    return np.where(finite, rank, front)
