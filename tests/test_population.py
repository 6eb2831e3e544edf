"""The stacked tree and the randomness that all operators share."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy import stats

import gajax
from gajax import individual

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


def ones(key):
    """Genes that are never zero and tell their place."""
    del key
    kernel = jnp.arange(1.0, 4_001).reshape(80, 50)
    return {"kernel": kernel, "rest": (kernel, jnp.arange(1.0, 51))}


@pytest.mark.parametrize("jit", [False, True])
def test_individuals_of_linear_densities_keep_each_gene_with_their_own_probability(jit):
    draw = partial(gajax.init, init_fn=ones, size=8, densities=gajax.linear_densities(8))
    drawn = (jax.jit(draw) if jit else draw)(jax.random.key(1))
    share = np.arange(1, 9) / 8
    np.testing.assert_allclose(gajax.linear_densities(8), share)
    for leaf, full in zip(jax.tree.leaves(drawn), jax.tree.leaves(ones(None)), strict=True):
        kept = np.asarray(leaf).reshape(8, -1) != 0
        assert (abs(kept.mean(1) - share) <= 5 * np.sqrt(share * (1 - share) / full.size)).all()
        expected = np.broadcast_to(np.ravel(full), kept.shape)
        np.testing.assert_array_equal(np.asarray(leaf).reshape(8, -1)[kept], expected[kept])
    half = np.asarray(drawn["kernel"][3] != 0)
    for other in (drawn["rest"][0][3] != 0, np.roll(half, 1, axis=0)):
        assert abs(np.mean(half == other) - 0.5) <= 5 * 0.5 / np.sqrt(half.size)


def test_individuals_of_one_density_are_drawn_and_thinned_by_themselves():
    def draw(key):
        return jax.random.normal(key, (40, 50))

    first, second = gajax.init(jax.random.key(2), draw, 2, densities=jnp.array([0.5, 0.5]))
    both = np.asarray((first != 0) & (second != 0))
    assert abs(both.mean() - 0.25) <= 5 * np.sqrt(0.25 * 0.75 / both.size)
    assert abs(np.corrcoef(first[both], second[both])[0, 1]) <= 5 / np.sqrt(both.sum())


def test_leaves_that_may_not_become_zero_are_drawn_whole():
    def may_be_zero(path, leaf):
        return leaf.ndim == 2 and path != "rest/0"

    drawn = gajax.init(jax.random.key(3), ones, 4, densities=jnp.zeros(4), may_be_zero=may_be_zero)
    assert (drawn["kernel"] == 0).all()
    jax.tree.map(
        lambda result, full: np.testing.assert_array_equal(result, jnp.stack([full] * 4)),
        drawn["rest"],
        ones(None)["rest"],
    )


def network():
    """Normal genes, of different sizes from leaf to leaf, a tenth of them zero, and a scale."""
    keys = jax.random.split(jax.random.key(4), 2)
    first, second = jax.random.normal(keys[0], (40, 50)), 5 * jax.random.normal(keys[1], (500,))
    return {"a": first.at[::10].set(0), "b": [second.at[::10].set(0), jnp.full(30, 1e-3)]}


def may_be_zero(path, leaf):
    return path != "b/1"


DENSITIES = jnp.array([0.3, 0.0, 0.95, 1.0, 0.05])  # of the network: 0.9


def copies_of_network(**options):
    """Five copies as rows, the genes of the leaf that may not become zero last."""
    options = {"densities": DENSITIES, "may_be_zero": may_be_zero} | options
    copy = jax.jit(partial(gajax.sparse_copies, size=5, **options))
    copies = copy(jax.random.key(5), network())
    assert jax.tree.structure(copies) == jax.tree.structure(network())
    return np.concatenate([np.reshape(leaf, (5, -1)) for leaf in jax.tree.leaves(copies)], axis=1)


GENES = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(network())])


def test_copies_keep_the_largest_genes_of_the_whole_network():
    rows, free = copies_of_network(noise=0.0), GENES.size - 30
    for row, density in zip(rows, DENSITIES, strict=True):
        kept = row[:free] != 0
        assert kept.sum() == min(round(float(density) * free), np.count_nonzero(GENES[:free]))
        np.testing.assert_array_equal(row[:free][kept], GENES[:free][kept])
        dropped = abs(GENES[:free][~kept]).max()
        assert not kept.any() or abs(GENES[:free][kept]).min() >= dropped
    np.testing.assert_array_equal(rows[:, free:], np.tile(GENES[free:], (5, 1)))
    supports = [set(np.flatnonzero(rows[index])) for index in (1, 4, 0, 2, 3)]
    assert all(one <= two for one, two in zip(supports, supports[1:], strict=False))


def test_copies_but_the_full_one_have_noise_in_proportion_to_their_leaf():
    rows, plain = copies_of_network(noise=0.02), copies_of_network(noise=0.0)
    np.testing.assert_array_equal(rows[3], GENES)
    np.testing.assert_array_equal(rows == 0, plain == 0)
    kept, start = plain[2] != 0, 0
    for size in (2000, 500, 30):
        part = slice(start, start + size)
        noise = (rows[2] - GENES)[part][kept[part]] / np.sqrt(np.mean(GENES[part] ** 2))
        assert abs(noise.std() - 0.02) <= 5 * 0.02 / np.sqrt(2 * noise.size)
        start += size
    noise = (rows - plain)[:, :2000][[0, 2]][:, (plain[0] != 0)[:2000]]
    assert abs(np.corrcoef(noise)[0, 1]) < 5 / np.sqrt(noise.shape[1])


def test_densities_of_copies_rise_linearly_to_the_network_itself():
    copies = jax.jit(partial(gajax.sparse_copies, size=4))(jax.random.key(6), network())
    result = np.asarray(gajax.density(copies)) * GENES.size
    np.testing.assert_allclose(result, np.minimum(GENES.size * np.arange(1, 5) / 4, 2280), atol=1)
    jax.tree.map(np.testing.assert_array_equal, gajax.take(copies, 3), network())


@pytest.mark.parametrize("densities", [jnp.ones(3), jnp.ones(5)])
def test_there_is_one_density_for_each_individual(densities):
    with pytest.raises(ValueError, match="must be 4 densities"):
        gajax.init(jax.random.key(0), ones, 4, densities=densities)
    with pytest.raises(ValueError, match="must be 4 densities"):
        gajax.sparse_copies(jax.random.key(0), network(), 4, densities=densities)


class Layer(NamedTuple):
    kernel: jax.Array
    bias: jax.Array


def test_predicates_see_the_names_that_lead_to_a_leaf():
    layer = Layer(jnp.ones((2, 3)), jnp.ones(3))
    tree = {"params": {"Dense_0": {"kernel": layer[0]}, "cell": layer}, "t": (layer, [layer[1]])}
    seen = []
    mask = individual.leaf_mask(
        tree, lambda path, leaf: seen.append((path, leaf.shape)) or leaf.ndim == 2
    )
    kernel, bias = (2, 3), (3,)
    assert seen == [
        ("params/Dense_0/kernel", kernel),
        ("params/cell/kernel", kernel),
        ("params/cell/bias", bias),
        ("t/0/kernel", kernel),
        ("t/0/bias", bias),
        ("t/1/0", bias),
    ]
    chosen = Layer(True, False)
    assert mask == {"params": {"Dense_0": {"kernel": True}, "cell": chosen}, "t": (chosen, [False])}


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

    noisy = individual.map_with_key(jax.random.key(1), add_noise, tree, tree)
    assert jax.tree.structure(noisy) == jax.tree.structure(tree)
    noise = [np.asarray(noisy["a"]), np.asarray(noisy["b"][0]), np.asarray(noisy["b"][1] - 2)]
    for first, second in [(0, 1), (0, 2), (1, 2)]:
        assert abs(noise[first] - noise[second]).max() > 0.1


MASK = jax.jit(individual.random_mask, static_argnums=2)


@pytest.mark.parametrize(
    "rate, draw",
    [*((rate, MASK) for rate in (0.0, 0.003, 0.2, 0.5, 0.99, 1.0)), (0.2, individual.random_mask)],
)
def test_random_mask_is_true_at_its_rate(rate, draw):
    mask = np.asarray(draw(jax.random.key(2), jnp.float32(rate), (1_000, 1_000)))
    assert abs(mask.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / mask.size)


@pytest.mark.parametrize("rate", [0.0, 1e-7, 1 / 392_000, 1e-5, 1 - 1e-6, 1.0])
def test_random_mask_is_exact_at_rates_far_below_one_in_65536(rate):
    """The count of 4 million binomial draws, where a word of 16 bits would give 0 or all."""
    size = 4_000_000
    count = int(MASK(jax.random.key(7), jnp.float32(rate), (size,)).sum())
    lowest, highest = stats.binom.ppf([1e-6, 1 - 1e-6], size, rate)
    assert lowest <= count <= highest
    assert rate not in (0, 1) or count == rate * size


def test_shapes_are_checked_while_tests_run():
    with pytest.raises(TypeCheckError):
        gajax.selection.truncation(jax.random.key(0), jnp.zeros((3, 2)), 1)
