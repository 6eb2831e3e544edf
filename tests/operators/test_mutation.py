"""Mutation: how many genes change, how far, and that the others do not change by a bit."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_bits import drawn_bits
from scipy import stats

from gajax import mutation

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

OPERATORS = {
    "zero": mutation.zero,
    "gaussian": partial(mutation.gaussian, scale=0.5),
    "polynomial": partial(mutation.polynomial, width=200.0),
}
FEW = ["zero", "polynomial"]  # those that draw only for the genes that change


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


@pytest.mark.parametrize(
    "rate, jit", [(0.0, True), (0.01, True), (0.5, True), (1.0, True), (0.01, False)]
)
@pytest.mark.parametrize("name", OPERATORS)
def test_genes_change_at_the_rate(name, rate, jit, individual):
    mutated = mutate(name, jit, rate=rate)(jax.random.key(1), individual)
    assert jax.tree.structure(mutated) == jax.tree.structure(individual)
    changed = bits(mutated) != bits(individual)
    # Noise too small to move a gene by one bit is about as rare as one in a million.
    assert abs(changed.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / changed.size) + 3e-4 * rate


def test_zero_sets_genes_to_zero_and_leaves_the_others_alone(individual):
    mutated = bits(mutate("zero", True, rate=0.3)(jax.random.key(2), individual))
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


@pytest.mark.parametrize("rate", [1e-7, 1 / 392_000])
@pytest.mark.parametrize("name", OPERATORS)
def test_genes_change_at_rates_far_below_one_in_65536(name, rate):
    """One gene in an autoencoder of 392,000 genes, so 10 of 4 million, and fewer."""
    size = 4_000_000
    mutated = mutate(name, True, rate=rate)(jax.random.key(14), jnp.ones(size))
    changed = int((mutated != 1).sum())
    assert changed <= stats.binom.ppf(1 - 1e-6, size, rate)
    assert changed >= stats.binom.ppf(1e-4, size, rate)


def test_genes_that_are_not_finite_stay_or_become_zero():
    bad = jnp.array([jnp.nan, jnp.inf, -jnp.inf] * 50)
    mutated = np.asarray(mutate("zero", True, rate=0.5)(jax.random.key(4), bad))
    zeros = mutated == 0
    assert zeros.any() and not zeros.all()
    np.testing.assert_array_equal(mutated[~zeros], np.asarray(bad)[~zeros])


@pytest.mark.parametrize("name", OPERATORS)
def test_leaves_mutate_by_themselves(name, individual):
    mutated = mutate(name, True, rate=0.5)(jax.random.key(5), individual)
    first = np.asarray(mutated["kernel"] != individual["kernel"])
    second = np.asarray(mutated["rest"][0] != individual["rest"][0])
    assert abs(np.mean(first == second) - 0.5) <= 5 * 0.5 / 100


@pytest.mark.parametrize("name", OPERATORS)
def test_individuals_of_a_population_mutate_by_themselves(name):
    keys = jax.random.split(jax.random.key(6), 3)
    population = jnp.ones((3, 10_000))
    operator = mutate(name, True, rate=0.5)
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


@pytest.mark.parametrize("name", FEW)
def test_few_random_numbers_are_drawn_for_few_changes(name, individual):
    count = 20_006
    for expected, most in [(1, 20), (100, 175), (count, count)]:
        operator = mutate(name, rate=expected / count)
        bits = drawn_bits(operator, jax.random.key(8), individual)
        assert bits <= 32 * most * (1 + (name == "polynomial"))


@pytest.mark.parametrize("rate", [1 / 12, 0.3])
@pytest.mark.parametrize("name", FEW)
def test_genes_change_independently_of_one_another(name, rate):
    draws, genes = 20_000, {"a": jnp.ones(5), "b": (jnp.float32(1), jnp.ones((2, 3)))}
    keys = jax.random.split(jax.random.key(9), draws)
    mutated = jax.vmap(lambda key: mutate(name, True, rate=rate)(key, genes))(keys)
    changed = np.concatenate(
        [np.reshape(leaf != 1, (draws, -1)) for leaf in jax.tree.leaves(mutated)], axis=1
    )
    joint = changed.T.astype(float) @ changed / draws
    alone, pairs = np.diag(joint), joint[~np.eye(12, dtype=bool)]
    assert (abs(alone - rate) <= 4 * np.sqrt(rate * (1 - rate) / draws)).all()
    assert (abs(pairs - rate**2) <= 4 * np.sqrt(rate**2 * (1 - rate**2) / draws)).all()
    counts = np.bincount(changed.sum(axis=1), minlength=13) / draws
    binomial = [math.comb(12, k) * rate**k * (1 - rate) ** (12 - k) for k in range(13)]
    assert (abs(counts - binomial) <= 4 * np.sqrt(np.divide(binomial, draws)) + 2 / draws).all()


def test_one_gene_in_many_changes_on_average_and_each_equally_often():
    size, draws = 20_000, 2_000
    keys = jax.random.split(jax.random.key(10), draws)
    operator = mutate("zero", True, rate=1 / size)
    mutated = jax.vmap(lambda key: operator(key, jnp.ones(size, jnp.int8)))(keys)
    rows, places = np.nonzero(np.asarray(mutated) == 0)
    counts = np.bincount(rows, minlength=draws)
    assert abs(counts.mean() - 1) <= 4 / np.sqrt(draws)
    assert abs(counts.var() - 1) <= 4 * np.sqrt(3 / draws)
    tenths = np.bincount(places * 10 // size, minlength=10)
    assert ((tenths - len(places) / 10) ** 2).sum() / (len(places) / 10) < 30  # chi-square, 9


def test_leaves_that_may_not_become_zero_stay_as_they_are(individual):
    asked = []

    def may_be_zero(path, leaf):
        asked.append((path, leaf.shape))
        return path != "kernel" and leaf.ndim == 1

    operator = mutate("zero", True, rate=0.9, may_be_zero=may_be_zero)
    mutated = operator(jax.random.key(11), individual)
    np.testing.assert_array_equal(bits(mutated)[:-5], bits(individual)[:-5])
    assert 0 in mutated["rest"][2]
    shapes = {"kernel": (100, 100), "rest/0": (100, 100), "rest/1": (), "rest/2": (5,)}
    assert dict(asked) == shapes


@pytest.mark.parametrize("index", [1.0, 20.0])
def test_polynomial_moves_have_their_distribution_and_stop_at_the_bound(index):
    genes = 20_000
    operator = mutate("polynomial", True, rate=1.0, index=index, width=6.0, bound=3.0)
    moved = np.asarray(operator(jax.random.key(12), jnp.zeros(genes))) / 3
    assert abs(np.mean(moved > 0) - 0.5) <= 4 * 0.5 / np.sqrt(genes)
    assert abs(moved).max() <= 1 and (abs(moved) == 1).any() == (index == 1)
    # The largest move is the width, 6; what is left of it, to the power index + 1, is uniform.
    left = np.sort((1 - abs(moved) / 2) ** (index + 1))
    distance = abs(left - np.arange(genes) / genes)[left > 0.5 ** (index + 1) * 1.001].max()
    assert distance <= 2 / np.sqrt(genes)


def test_polynomial_cuts_every_gene_off_at_the_bound():
    genes = jnp.linspace(-9, 9, 1000)
    moved = mutate("polynomial", True, rate=0.01, bound=4.0)(jax.random.key(13), genes)
    assert abs(moved).max() == 4
