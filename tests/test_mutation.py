"""Mutation: how many genes change, how far, and that the others do not change by a bit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gajax import mutation

OPERATORS = {"zero": mutation.zero, "gaussian": partial(mutation.gaussian, scale=0.5)}


@pytest.fixture(scope="module")
def individual():
    kernel = jax.random.normal(jax.random.key(0), (100, 100)) + 10
    return {"kernel": kernel, "rest": (kernel, jnp.float32(3), jnp.full(5, -2.0))}


def bits(tree):
    """The memory of all genes: equal for equal bits, NaN and -0 included."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).view(np.uint32)


def mutate(name, jit=False, **options):
    operator = partial(OPERATORS[name], **options)
    return jax.jit(operator) if jit else operator


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("name", OPERATORS)
def test_genes_change_at_the_rate(name, rate, jit, individual):
    mutated = mutate(name, jit, rate=rate)(jax.random.key(1), individual)
    assert jax.tree.structure(mutated) == jax.tree.structure(individual)
    changed = bits(mutated) != bits(individual)
    # Noise too small to move a gene by one bit is about as rare as one in a million.
    assert abs(changed.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / changed.size) + 3e-4 * rate


def test_zero_sets_genes_to_zero_and_leaves_the_others_alone(individual):
    mutated = bits(mutate("zero", rate=0.3)(jax.random.key(2), individual))
    assert ((mutated == 0) | (mutated == bits(individual))).all()


@pytest.mark.parametrize("jit", [False, True])
def test_gaussian_adds_noise_of_its_scale(individual, jit):
    def operator(key, individual, rate, scale):
        return mutation.gaussian(key, individual, rate=rate, scale=scale)

    operator = jax.jit(operator) if jit else operator
    mutated = operator(jax.random.key(3), individual, 0.5, 0.25)["kernel"]
    noise = np.asarray(mutated - individual["kernel"])
    noise = noise[noise != 0] / 0.25
    assert abs(noise.mean()) <= 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) <= 5 * np.sqrt(2 / noise.size)
    assert abs(np.mean(noise**4) - 3) <= 5 * np.sqrt(96 / noise.size)


def test_genes_that_are_not_finite_stay_or_become_zero():
    bad = jnp.array([jnp.nan, jnp.inf, -jnp.inf] * 50)
    mutated = np.asarray(mutation.zero(jax.random.key(4), bad, rate=0.5))
    zeros = mutated == 0
    assert zeros.any() and not zeros.all()
    np.testing.assert_array_equal(mutated[~zeros], np.asarray(bad)[~zeros])


@pytest.mark.parametrize("name", OPERATORS)
def test_leaves_mutate_by_themselves(name, individual):
    mutated = mutate(name, rate=0.5)(jax.random.key(5), individual)
    first = np.asarray(mutated["kernel"] != individual["kernel"])
    second = np.asarray(mutated["rest"][0] != individual["rest"][0])
    assert abs(np.mean(first == second) - 0.5) <= 5 * 0.5 / 100


@pytest.mark.parametrize("name", OPERATORS)
def test_individuals_of_a_population_mutate_by_themselves(name):
    keys = jax.random.split(jax.random.key(6), 3)
    population = jnp.ones((3, 10_000))
    operator = mutate(name, rate=0.5)
    mutated = jax.vmap(operator)(keys, population)
    for row, key in zip(mutated, keys, strict=True):
        np.testing.assert_array_equal(row, operator(key, jnp.ones(10_000)))
    changed = np.asarray(mutated != population)
    for first, second in [(0, 1), (0, 2), (1, 2)]:
        assert abs(np.mean(changed[first] == changed[second]) - 0.5) <= 5 * 0.5 / 100


@pytest.mark.parametrize("name", OPERATORS)
def test_genes_keep_their_type(name):
    genes = jnp.ones(8, jnp.bfloat16)
    assert mutate(name, rate=0.5)(jax.random.key(7), genes).dtype == jnp.bfloat16
