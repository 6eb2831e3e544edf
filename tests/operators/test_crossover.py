"""Crossover: every gene comes from a parent, and two children share out both parents' genes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gajax import crossover

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

SHAPES = {"first": (20, 30), "rest": [(20, 30), ()], "zlast": (30,)}
OPERATORS = {
    "uniform": crossover.uniform,
    "uniform 0.2": partial(crossover.uniform, rate=0.2),
    "one_point": crossover.one_point,
}


def tree(function):
    return jax.tree.map(function, SHAPES, is_leaf=lambda leaf: isinstance(leaf, tuple))


def parents(first=1.0, second=2.0):
    """Two individuals of one value each, so that a gene tells where it comes from."""
    return tree(lambda shape: jnp.full(shape, first)), tree(lambda shape: jnp.full(shape, second))


def flat(individual):
    """All genes, in the order of the chromosome."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(individual)])


def swaps(operator, key):
    """Which genes of the first child come from the second parent."""
    return flat(operator(key, *parents())[0]) == 2


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_children_share_out_the_genes_of_both_parents(name, jit):
    operator = jax.jit(OPERATORS[name]) if jit else OPERATORS[name]
    first = tree(lambda shape: jnp.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape))
    second = jax.tree.map(jnp.negative, first)
    children = operator(jax.random.key(0), first, second)
    assert jax.tree.structure(children) == jax.tree.structure((first, second))
    older, younger = map(flat, children)
    np.testing.assert_array_equal(abs(older), flat(first))
    np.testing.assert_array_equal(younger, -older)
    assert (older > 0).any() and (older < 0).any()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_uniform_swaps_genes_at_its_rate(rate, jit):
    def operator(key, first, second, rate):
        return crossover.uniform(key, first, second, rate=rate)

    operator = jax.jit(operator) if jit else operator
    share = swaps(partial(operator, rate=rate), jax.random.key(3))
    assert abs(share.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / share.size)


def test_uniform_draws_every_leaf_by_itself():
    child = crossover.uniform(jax.random.key(4), *parents())[0]
    same = np.mean(np.asarray(child["first"] == child["rest"][0]))
    assert abs(same - 0.5) <= 5 * 0.5 / np.sqrt(600)


@pytest.mark.parametrize("name", OPERATORS)
def test_pairs_of_a_population_cross_by_themselves(name):
    keys = jax.random.split(jax.random.key(5), 3)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), parents())
    children = jax.vmap(OPERATORS[name])(keys, *stacked)[0]
    rows = [flat(jax.tree.map(lambda leaf, i=i: leaf[i], children)) for i in range(3)]
    for row, key in zip(rows, keys, strict=True):
        np.testing.assert_array_equal(row, flat(OPERATORS[name](key, *parents())[0]))
    assert any(rows[0] != rows[1]) and any(rows[0] != rows[2]) and any(rows[1] != rows[2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_gene_that_is_not_finite_stays_with_its_own_child(name, bad):
    swapped = swaps(OPERATORS[name], jax.random.key(6))
    older, younger = map(flat, OPERATORS[name](jax.random.key(6), *parents(second=bad)))
    np.testing.assert_array_equal(older, np.where(swapped, bad, 1))
    np.testing.assert_array_equal(younger, np.where(swapped, 1, bad))


def test_one_point_swaps_one_stretch_to_the_end_and_every_cut_occurs():
    first = {"a": jnp.ones((2, 2)), "b": (jnp.ones(()), jnp.ones(3))}
    second = jax.tree.map(lambda leaf: leaf * 2, first)
    keys = jax.random.split(jax.random.key(7), 700)
    child = jax.vmap(lambda key: crossover.one_point(key, first, second)[0])(keys)
    genes = np.concatenate([np.reshape(x, (700, -1)) for x in jax.tree.leaves(child)], axis=1)
    assert (np.diff(genes, axis=1) >= 0).all()
    counts = np.bincount((genes == 1).sum(axis=1), minlength=9)
    assert counts[0] == counts[8] == 0
    assert (abs(counts[1:8] - 100) <= 5 * np.sqrt(700 / 7 * 6 / 7)).all()


def test_one_point_leaves_a_single_gene_with_its_parent():
    children = crossover.one_point(jax.random.key(8), jnp.ones(1), 2 * jnp.ones(1))
    assert [float(child[0]) for child in children] == [1, 2]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_children_of_mean_are_weighted_means_of_all_their_parents(count):
    generator = np.random.default_rng(count)
    trees = [
        tree(lambda shape: jnp.asarray(generator.normal(size=shape), jnp.float32))
        for _ in range(count)
    ]
    children = crossover.mean(jax.random.key(9), *trees)
    assert len(children) == count
    rows = np.stack([flat(parent) for parent in trees])
    weights = np.linalg.lstsq(rows.T, np.stack([flat(child) for child in children]).T)[0].T
    np.testing.assert_allclose(weights @ rows, [flat(child) for child in children], atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert (weights > 0).all()


def test_weights_of_means_are_uniform_on_the_simplex():
    """Of three weights, the first is then below x with probability 1 - (1 - x)^2."""
    keys = jax.random.split(jax.random.key(0), 2_000)
    vertices, uniform = jnp.eye(3), partial(crossover.mean, concentration=1)
    weights = np.concatenate(jax.vmap(lambda key: uniform(key, *vertices))(keys))
    for column in weights.T:
        expected = 1 - (1 - np.array([0.1, 0.5, 0.8])) ** 2
        share = [(column < limit).mean() for limit in (0.1, 0.5, 0.8)]
        np.testing.assert_allclose(share, expected, atol=0.03)
    keys = jax.random.split(jax.random.key(1), 2_000)
    closer = np.concatenate(jax.vmap(lambda key: crossover.mean(key, *vertices))(keys))
    # The variance of a weight is (1/3) (2/3) / (3 x concentration + 1).
    np.testing.assert_allclose(closer.var(axis=0), 2 / 9 / 16, rtol=0.1)
