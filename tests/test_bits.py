"""Random words drawn where they are used are those of JAX, and normal numbers are normal."""

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
