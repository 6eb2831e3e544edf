"""The stacked tree and the randomness that all operators share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import gajax
from gajax import population

POPULATION = {
    "kernel": jnp.array([[[0.0, 1.0], [2.0, 0.0]], [[3.0, 4.0], [5.0, 6.0]], [[0.0] * 2] * 2]),
    "rest": (jnp.array([1.0, -0.0, jnp.nan]),),
}


def test_individuals_are_drawn_from_keys_of_their_own():
    def draw(key):
        return {"kernel": jax.random.normal(key, (2, 3))}

    drawn = gajax.init(jax.random.key(0), draw, 4)
    for index, key in enumerate(jax.random.split(jax.random.key(0), 4)):
        np.testing.assert_array_equal(drawn["kernel"][index], draw(key)["kernel"])


def test_size_counts_individuals_and_genes_counts_one_individual():
    assert gajax.size(POPULATION) == 3
    assert gajax.genes(gajax.take(POPULATION, 0)) == 5


@pytest.mark.parametrize(
    "tree",
    [{}, {"a": jnp.zeros(3), "b": jnp.zeros((2, 3))}, {"a": jnp.zeros(3), "b": jnp.zeros(())}],
)
def test_size_refuses_leaves_without_one_common_axis(tree):
    with pytest.raises(ValueError, match="leading axis"):
        gajax.size(tree)


def test_take_keeps_the_order_of_the_indices():
    taken = gajax.take(POPULATION, jnp.array([2, 0, 2]))
    for part, whole in zip(jax.tree.leaves(taken), jax.tree.leaves(POPULATION), strict=True):
        np.testing.assert_array_equal(part, np.asarray(whole)[[2, 0, 2]])


def test_concatenate_joins_what_take_cut():
    parts = [gajax.take(POPULATION, slice(0, 1)), gajax.take(POPULATION, slice(1, 3))]
    jax.tree.map(np.testing.assert_array_equal, gajax.concatenate(*parts), POPULATION)


def test_density_counts_every_gene_that_is_not_zero():
    np.testing.assert_allclose(gajax.density(POPULATION), [3 / 5, 4 / 5, 1 / 5], rtol=1e-6)


def test_map_with_key_gives_every_leaf_another_key():
    tree = {"a": jnp.zeros(50), "b": (jnp.zeros(50), jnp.ones(50))}

    def add_noise(key, leaf, other):
        return leaf + other + jax.random.uniform(key, leaf.shape)

    noisy = population.map_with_key(jax.random.key(1), add_noise, tree, tree)
    assert jax.tree.structure(noisy) == jax.tree.structure(tree)
    noise = [np.asarray(noisy["a"]), np.asarray(noisy["b"][0]), np.asarray(noisy["b"][1] - 2)]
    for first, second in [(0, 1), (0, 2), (1, 2)]:
        assert abs(noise[first] - noise[second]).max() > 0.1


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.003, 0.2, 0.5, 0.99, 1.0])
def test_random_mask_is_true_at_its_rate(rate, jit):
    def draw(key, rate):
        return population.random_mask(key, rate, (1_000, 1_000))

    mask = np.asarray((jax.jit(draw) if jit else draw)(jax.random.key(2), jnp.float32(rate)))
    deviation = 5 * np.sqrt(rate * (1 - rate) / mask.size) + 1 / 65536 * (0 < rate < 1)
    assert abs(mask.mean() - rate) <= deviation


def test_shapes_are_checked_while_tests_run():
    with pytest.raises(TypeCheckError):
        gajax.selection.truncation(jax.random.key(0), jnp.zeros((3, 2)), 1)
