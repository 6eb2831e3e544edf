"""Random words, normal numbers and permutations that are computed where they are used."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gajax import bits


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 500), (2, 3, 4)])
@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_words_are_those_of_jax(shape, implementation):
    keys = [jax.random.key(11, impl=implementation) for _ in range(2)]
    np.testing.assert_array_equal(bits.words(keys[0], shape), jax.random.bits(keys[1], shape))


def test_words_of_many_keys_are_those_of_each():
    keys = jax.random.split(jax.random.key(3), 5)
    together = jax.jit(jax.vmap(lambda key: bits.words(key, (64,))))(keys)
    for row, key in zip(together, jax.random.split(jax.random.key(3), 5), strict=True):
        np.testing.assert_array_equal(row, jax.random.bits(key, (64,)))


def test_words_are_no_pass_of_their_own():
    """The compiled mask keeps no words: it needs no memory beside what it gives."""
    compiled = jax.jit(lambda key: bits.words(key, (10_000,)) < 1000).lower(jax.random.key(0))
    memory = compiled.compile().memory_analysis()
    assert memory.temp_size_in_bytes < 10_000


def test_normal_numbers_are_normal():
    drawn = np.asarray(bits.normal(jax.random.key(1), (200_000,)))
    assert np.isfinite(drawn).all() and len(np.unique(drawn)) > 190_000
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    np.testing.assert_allclose(drawn.var(), 1, atol=0.02)


def test_the_rarest_words_stay_finite(monkeypatch):
    ends = jnp.array([0, 2**32 - 1], jnp.uint32)
    monkeypatch.setattr(bits, "words", lambda key, shape: ends)
    low, high = bits.normal(jax.random.key(0), (2,))
    assert np.isfinite([low, high]).all() and -6 < low < -5 and low == -high


SIZES = [1, 2, 3, 17, 64, 65, 1000]


@partial(jax.jit, static_argnums=2)
def permuted(key, indices, size):
    """The elements at these indices of the permutation number 4 of a key."""
    return bits.permuted(key, jnp.array([4]), indices[None], size)[0]


@pytest.mark.parametrize("size", SIZES)
def test_every_number_comes_once_in_a_permutation(size):
    keys = jax.random.split(jax.random.key(5), 50)
    orders = jax.vmap(lambda key: permuted(key, jnp.arange(size), size))(keys)
    assert orders.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(size), (50, 1)))
    different = len(np.unique(orders, axis=0))
    assert different == {1: 1, 2: 2, 3: 6}.get(size, 50), "another key, another permutation"


@pytest.mark.parametrize("size", [17, 1000])
def test_a_permutation_can_be_computed_in_parts(size):
    def part(indices):
        return np.asarray(permuted(jax.random.key(6), jnp.asarray(indices), size))

    whole = part(np.arange(size))
    np.testing.assert_array_equal(
        np.concatenate([part([*range(5)]), part([*range(5, size)])]), whole
    )
    np.testing.assert_array_equal(part([size - 1, 0, 3]), whole[[size - 1, 0, 3]])
    np.testing.assert_array_equal(part([2]), whole[[2]])


@pytest.mark.parametrize("size", [3, 17, 65])
def test_every_element_is_equally_often_at_every_place(size):
    """Pearson's statistic of each place, and of the step from each place to the next."""
    count = 200 * size
    keys = jax.random.split(jax.random.key(7), count)
    orders = np.asarray(jax.vmap(lambda key: permuted(key, jnp.arange(size), size))(keys))
    steps = (np.diff(orders, axis=1) % size) - 1
    for numbers, kinds in ((orders, size), (steps, size - 1)):
        for column in numbers.T:
            frequency = np.bincount(column, minlength=kinds)
            expected = count / kinds
            statistic = ((frequency - expected) ** 2 / expected).sum()
            # Of all columns together, less than one in a thousand runs would pass the bound.
            assert stats.chi2.sf(statistic, kinds - 1) > 1e-3 / (2 * size)


def test_each_row_is_of_the_permutation_of_its_number():
    numbers = jnp.array([0, 3, 3, 200])
    rows = bits.permuted(jax.random.key(8), numbers, jnp.tile(jnp.arange(40), (4, 1)), 40)
    np.testing.assert_array_equal(rows[1], rows[2])
    assert len(np.unique(rows, axis=0)) == 3


def test_other_generators_permute_too():
    key = jax.random.key(9, impl="rbg")
    (row,) = bits.permuted(key, jnp.array([1]), jnp.arange(30)[None], 30)
    np.testing.assert_array_equal(np.sort(row), np.arange(30))
