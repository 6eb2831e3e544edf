"""Selection: the better individuals survive, finite losses or not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gajax import selection

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

NAN, INF = np.nan, np.inf
LOSSES = {
    "plain": [3.0, 1.0, 2.0, 0.5, 9.0, -4.0],
    "ties": [1.0, 0.0, 1.0, 0.0, 0.0, 1.0],
    "nan": [NAN, 1.0, NAN, 0.0, 2.0, NAN],
    "infinite": [INF, 1.0, -INF, NAN, 0.0, 3e38],
    "none finite": [NAN, INF, NAN, INF, -INF, NAN],
}


def comparable(loss):
    loss = np.array(loss, np.float32)
    return np.where(np.isfinite(loss), loss, INF)


def tournaments(losses, count, *, size, jit=True, repeats=20):
    """The winners for each row of losses: with `repeats` keys, or one where nothing is compiled."""
    operator = partial(selection.tournament, count=count, size=size)
    losses = jnp.array(losses)
    if not jit:
        return np.array([[operator(jax.random.key(1), loss)] for loss in losses])
    keys = jax.random.split(jax.random.key(1), repeats)
    over_keys = jax.vmap(operator, (0, None))
    return np.asarray(jax.jit(jax.vmap(over_keys, (None, 0)))(keys, losses))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("name", LOSSES)
def test_truncation_keeps_the_lowest_losses_in_their_order(name, count, jit):
    operator = partial(selection.truncation, count=count)
    operator = jax.jit(operator) if jit else operator
    chosen = operator(jax.random.key(0), jnp.array(LOSSES[name]))
    expected = np.argsort(comparable(LOSSES[name]), kind="stable")[:count]
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_tournaments_that_all_enter_once_have_distinct_winners(size, jit):
    winners = tournaments(list(LOSSES.values()), 6 // size, size=size, jit=jit)
    for loss, rows in zip(map(comparable, LOSSES.values()), winners, strict=True):
        for row in rows:
            assert len(set(row)) == 6 // size
            assert loss[row].min() == loss.min()
    if 1 < size < 6 and jit:
        assert len({tuple(row) for row in winners[0]}) > 1


def test_each_individual_enters_as_often_as_the_others():
    for row in tournaments([[5.0, 3.0, 8.0, 1.0, 9.0, 7.0]], 6, size=2)[0]:
        counts = np.bincount(row, minlength=6)
        assert counts[3] == 2, "the best wins both of its tournaments"
        assert counts[4] == 0, "the worst wins none"
        assert (counts <= 2).all()


def test_an_individual_without_a_finite_loss_beats_no_other():
    winners = tournaments([[2.0, NAN, 3.0, -INF, 4.0, 1.0]], 2, size=3)[0]
    assert set(winners.ravel().tolist()) <= {0, 2, 4, 5}


def test_tournaments_pair_individuals_at_random():
    """Of four, the second best wins unless it meets the best: two times in three."""
    winners = tournaments([[0.0, 1.0, 2.0, 3.0]], 2, size=2, repeats=900)[0]
    wins = np.mean((winners == 1).any(axis=1))
    assert abs(wins - 2 / 3) <= 5 * np.sqrt(2 / 9 / 900)
