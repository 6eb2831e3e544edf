"""Simulated binary crossover, with and without the signs of gradients.

Most parents here are -1 and 1 at every gene: their mean is 0 and half their gap is 1, so a child's
value is its spread factor, and its sign tells which of the two children it was made for.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_bits import drawn_bits

import gajax
from gajax import crossover

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

GENES = 20_000
SIGNS = [(low, high) for low in (-1, 0, 1) for high in (-1, 0, 1)]
READINGS = ["own", "paper"]
GUIDED = {name: partial(crossover.gradient_guided_sbx, reading=name) for name in READINGS}
OPERATORS = {"sbx": lambda key, a, b, *_, **options: crossover.sbx(key, a, b, **options)} | GUIDED


def call(operator, seed, *arguments, **options):
    return operator(jax.random.key(seed), *arguments, **options)


def draw(seed, shape, kept=1.0):
    """Genes of which a share is not zero, and random signs."""
    random = np.random.default_rng(seed)
    genes = random.normal(size=shape) * (random.random(shape) < kept)
    return jnp.asarray(genes, jnp.float32), jnp.asarray(random.integers(-1, 2, shape), jnp.int8)


def couple(seed=0, shape=(GENES,), kept=(1.0, 1.0)):
    """Two parents and their signs, in the order of the operators' arguments."""
    (first, first_signs), (second, second_signs) = (
        draw([seed, index], shape, share) for index, share in enumerate(kept)
    )
    return first, second, first_signs, second_signs


@cache
def spread(reading, low_sign, high_sign):
    """Children [2, GENES] of parents at -1 and 1, the one of the lower value first."""
    first_is_low = np.random.default_rng(1).random(GENES) < 0.5
    first = jnp.asarray(np.where(first_is_low, -1, 1), jnp.float32)
    pairs = (low_sign, high_sign), (high_sign, low_sign)
    signs = [jnp.asarray(np.where(first_is_low, *pair), jnp.int8) for pair in pairs]
    key = jax.random.key(SIGNS.index((low_sign, high_sign)))
    children = np.stack(GUIDED[reading](key, first, -first, *signs))
    return np.where(first_is_low, children, children[::-1])


def factors(reading, low_sign, high_sign):
    """Spread factors of both children before any copy, where none of them is lost."""
    low, high = spread(reading, low_sign, high_sign)
    swapped = (low > 0) & (high < 0)
    kept = (low < 0) & (high > 0)
    low, high = np.where(swapped, (high, low), (low, high))[:, swapped | kept]
    return -low, high


def distance(result, distribution):
    """Kolmogorov and Smirnov's, in units of what is expected."""
    result = np.sort(result)
    expected = distribution(result)
    steps = np.arange(len(result) + 1) / len(result)
    return np.sqrt(len(result)) * max((steps[1:] - expected).max(), (expected - steps[:-1]).max())


DISTRIBUTIONS = {  # of the spread factor outward, either way and inward
    1: lambda x: np.where(x < 1, 0, 1 - x**-21.0),
    0: lambda x: np.where(x < 1, x**21.0 / 2, 1 - x**-21.0 / 2),
    -1: lambda x: np.minimum(x**21.0, 1),
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_gene_that_is_zero_in_both_parents_stays_zero(name, jit):
    operator = jax.jit(OPERATORS[name]) if jit else OPERATORS[name]
    parents = couple(kept=(0.3, 0.6))
    dead = (np.asarray(parents[0]) == 0) & (np.asarray(parents[1]) == 0)
    for seed in range(4):
        for child in map(np.asarray, operator(jax.random.key(seed), *parents)):
            assert (child[dead] == 0).all() and (child[~dead] != 0).mean() > 0.2


@pytest.mark.parametrize("name", OPERATORS)
def test_equal_parents_have_children_like_themselves(name):
    first, _, *signs = couple(2, kept=(0.8, 0.8))
    for child in OPERATORS[name](jax.random.key(0), first, first, *signs):
        np.testing.assert_array_equal(child, first)


@pytest.mark.parametrize("low_sign, high_sign", SIGNS)
@pytest.mark.parametrize("reading", READINGS)
def test_gradients_say_which_way_each_child_goes_and_how_far(reading, low_sign, high_sign):
    guide = high_sign if reading == "own" else low_sign
    low, high = factors(reading, low_sign, high_sign)
    for result, outward in [(low, low_sign), (high, -guide)]:
        assert result.min() > 0 and result.max() <= 2 ** (15 / 21) * (1 + 1e-6)  # 14 bits
        if outward:
            assert (result >= 1).all() if outward > 0 else (result <= 1).all()
        assert distance(result, DISTRIBUTIONS[outward]) < 2


@pytest.mark.parametrize("low_sign, high_sign", SIGNS)
@pytest.mark.parametrize("reading", READINGS)
def test_children_share_their_draw_only_where_no_gradient_guides_them(reading, low_sign, high_sign):
    guide = high_sign if reading == "own" else low_sign
    low, high = factors(reading, low_sign, high_sign)
    if low_sign == guide == 0:
        np.testing.assert_array_equal(low, high)
    else:
        correlation = np.corrcoef(np.log(low), np.log(high))[0, 1]
        assert abs(correlation) < 4 / np.sqrt(len(low))


@pytest.mark.parametrize("low_sign, high_sign", SIGNS)
@pytest.mark.parametrize("reading", READINGS)
def test_a_child_copies_the_other_at_even_odds_where_its_gradient(reading, low_sign, high_sign):
    low, high = spread(reading, low_sign, high_sign)
    for copied, copies in [(low > 0, low_sign < 0), (high < 0, high_sign > 0)]:
        assert abs(copied.mean() - copies / 2) <= copies * 4 * 0.5 / np.sqrt(GENES)
    if low_sign < 0 and high_sign > 0:
        np.testing.assert_array_equal(low > 0, high < 0)  # they swap, or both stay
        stay, far = low < 0, np.log(-low * high)  # of which the coin says nothing
        assert abs(far[stay].mean() - far[~stay].mean()) < 4 * far.std() * 2 / np.sqrt(GENES)
    else:
        copied = (low > 0) | (high < 0)
        np.testing.assert_array_equal(low[copied], high[copied])


@pytest.mark.parametrize("index", [2.0, 20.0])
def test_the_spread_of_sbx_has_its_distribution(index):
    first = jnp.where(jnp.arange(GENES) % 2 == 0, -1.0, 1.0)
    older, younger = crossover.sbx(jax.random.key(0), first, -first, index=index)
    np.testing.assert_array_equal(older, -younger)
    result = np.asarray(older / first)
    assert distance(result ** ((index + 1) / 21), DISTRIBUTIONS[0]) < 2


@pytest.mark.parametrize("name", OPERATORS)
def test_without_gradients_children_have_their_parents_mean_and_stay_on_their_side(name):
    first, second, *_ = couple(3)
    zeros = jnp.zeros(GENES, jnp.int8)
    older, younger = OPERATORS[name](jax.random.key(1), first, second, zeros, zeros)
    np.testing.assert_allclose(older + younger, first + second, atol=1e-5)
    assert (abs(older - first) <= abs(older - second) * (1 + 1e-5)).all()
    assert (abs(younger - second) <= abs(younger - first) * (1 + 1e-5)).all()


@pytest.mark.parametrize("reading", READINGS)
def test_a_pair_keeps_all_its_zeros_or_none_with_even_odds(reading):
    first, second, *_ = couple(4, (2, 100), kept=(0.3, 0.6))
    parents = ([first[0], first[1]], [second[0], second[1]])
    signs = jax.tree.map(jnp.zeros_like, parents)
    union = np.mean((first != 0) | (second != 0))
    keys = jax.random.split(jax.random.key(2), 400)
    older, younger = jax.vmap(lambda key: GUIDED[reading](key, *parents, *signs))(keys)
    kept = np.asarray(gajax.density(older)) < (0.3 + union) / 2
    assert abs(kept.mean() - 0.5) < 4 * 0.5 / np.sqrt(400)
    for child, parent in [(older, first), (younger, second)]:
        alive = np.stack(child, axis=1) != 0
        expected = np.asarray(parent) != 0
        assert (alive[kept] == expected).all(), "each child has the zeros of its own parent"
        assert (alive[~kept] == np.asarray((first != 0) | (second != 0))).all()


@pytest.mark.parametrize("zero_is_low", [False, True])
@pytest.mark.parametrize("reading", READINGS)
def test_copies_come_after_kept_zeros_and_may_refill_or_spread_them(reading, zero_is_low):
    """The first parent is zero and pulled to the second, and then the other way round."""
    zero, other = jnp.zeros(1000), jnp.full(1000, 1.0 if zero_is_low else -1.0)
    none, pull = jnp.zeros(1000, jnp.int8), jnp.full(1000, -1 if zero_is_low else 1, jnp.int8)
    seen = set()
    for seed in range(12):
        cross = partial(call, GUIDED[reading], seed, zero, other)
        (kept, _), (refilled, donor), (source, reached) = (
            cross(*signs) for signs in [(none, none), (pull, none), (none, -pull)]
        )
        copied = np.asarray(refilled == donor)
        assert 0.4 < copied.mean() < 0.6
        seen.add(bool((kept == 0).all()))
        if (kept == 0).all():
            np.testing.assert_array_equal(refilled == 0, ~copied)
            assert (source == 0).all() and 0.4 < np.mean(reached == 0) < 0.6
        else:
            assert (refilled != 0).all() and (reached != 0).all()
    assert seen == {False, True}


@pytest.mark.parametrize("name", OPERATORS)
def test_genes_are_cut_off_at_their_bound(name):
    first = {"kernel": jnp.full(GENES, -9.9), "rest": (jnp.full(GENES, 19.8),)}
    second = jax.tree.map(jnp.negative, first)
    signs = jax.tree.map(jnp.zeros_like, (first, second))
    cross = partial(call, OPERATORS[name], 3, first, second, *signs)
    for bound, bounds in [(10.0, (10, 10)), ({"kernel": 10.0, "rest": (20.0,)}, (10, 20))]:
        for child in cross(bound=bound):
            for leaf, limit in zip(jax.tree.leaves(child), bounds, strict=True):
                assert abs(leaf).max() == limit and 0.2 < np.mean(abs(leaf) == limit)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", OPERATORS)
def test_genes_keep_their_type_and_signs_may_have_any(name, dtype):
    first, second, *signs = couple(5, (500,), kept=(0.5, 0.9))
    cross = partial(call, OPERATORS[name], 4, first.astype(dtype), second.astype(dtype))
    expected = cross(*signs)
    assert all(child.dtype == dtype for child in expected)
    for type_of_sign in (jnp.float32, dtype, jnp.int32):
        result = cross(*(sign.astype(type_of_sign) for sign in signs))
        np.testing.assert_array_equal(jnp.stack(result), jnp.stack(expected))


@pytest.mark.parametrize("name", OPERATORS)
def test_pairs_cross_by_themselves_with_and_without_jit(name):
    seeds, pairs = jnp.arange(5), couple(6, (5, 300), kept=(0.5, 0.9))
    cross = jax.vmap(partial(call, OPERATORS[name]))
    together, compiled = cross(seeds, *pairs), jax.jit(cross)(seeds, *pairs)
    for index in range(5):
        alone = call(OPERATORS[name], index, *(leaf[index] for leaf in pairs))
        for children in (together, compiled):
            for result, expected in zip(children, alone, strict=True):
                np.testing.assert_allclose(result[index], expected, rtol=1e-6, atol=1e-6)
                np.testing.assert_array_equal(result[index] == 0, expected == 0)


@pytest.mark.parametrize("name", OPERATORS)
def test_leaves_draw_by_themselves_one_word_a_gene(name):
    leaf = couple(7, (1000,))
    parents = [{"a": leaf, "b": leaf} for leaf in leaf]
    child, _ = OPERATORS[name](jax.random.key(6), *parents)
    assert np.mean(np.asarray(child["a"] != child["b"])) > 0.7
    bits = drawn_bits(OPERATORS[name], jax.random.key(6), *parents)
    assert bits - 32 * 2000 in (0, 32)  # and one for the coin of the pair


@pytest.mark.parametrize("name", OPERATORS)
def test_a_gene_that_is_not_finite_breaks_no_other(name):
    first, second, *signs = couple(8, (1000,))
    cross = partial(call, OPERATORS[name], 7)
    whole = cross(first, second, *signs)
    broken = cross(first.at[::10].set(jnp.nan), second, *signs)
    others = np.arange(1000) % 10 > 0
    np.testing.assert_array_equal(jnp.stack(broken)[:, others], jnp.stack(whole)[:, others])
