"""The networks of the fronts: shapes, first values, bounds and gradients."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from experiments.front import networks

SHAPE = (28, 28, 1)
HIDDEN = {
    "autoencoder": (500,),
    "deep-autoencoder": (20, 10),
    "lenet": (),
    "lstm": (16,),
    "mlp": (12, 8),
}
GENES = {
    "autoencoder": 785 * 500,
    "deep-autoencoder": 785 * 20 + 21 * 10,
    "lenet": 156 + 2_416 + 48_120 + 10_164 + 850,
    "lstm": 4 * 16 * (28 + 16 + 1) + 170,
    "mlp": 785 * 12 + 13 * 8 + 9 * 10,
}
IMAGES = jax.random.bits(jax.random.key(1), (6, 784), jnp.uint8)
BATCH = {"images": IMAGES, "labels": jnp.array([0, 1, 2, 3, 4, 9])}


@cache
def make(name):
    """The network, with compiled functions."""
    network = networks.make(name, HIDDEN[name], SHAPE, 10)
    names = ("init", "loss_fn", "value_and_grad", "logits", "reconstruct")
    functions = {name: getattr(network, name) for name in names}
    return network._replace(**{name: jax.jit(each) for name, each in functions.items() if each})


@cache
def drawn(name):
    return make(name).init(jax.random.key(0))


@pytest.mark.parametrize("name", HIDDEN)
def test_genes_and_bounds(name):
    network = make(name)
    params = drawn(name)
    assert gajax.genes(params) == GENES[name]
    bounds = gajax.individual.leaf_mask(params, lambda path, leaf: path.endswith("bias"))
    expected = jax.tree.map(lambda bias: 20.0 if bias else 10.0, bounds)
    assert network.bound == expected


@pytest.mark.parametrize("name", HIDDEN)
def test_no_gene_starts_at_zero_so_that_sparse_steps_move_them_all(name):
    params = drawn(name)
    for leaf in jax.tree.leaves(params):
        assert (leaf != 0).mean() > 0.999
        assert leaf.dtype == jnp.float32


def test_the_autoencoder_is_drawn_as_published():
    params = drawn("autoencoder")["blocks_0"]
    limit = 6 / np.sqrt(785 + 500)
    for leaf in params.values():
        assert 0.98 * limit < np.abs(leaf).max() <= limit
        assert abs(np.std(leaf) - limit / np.sqrt(3)) < 0.05 * limit


def test_the_autoencoder_is_a_tied_one_with_sigmoids():
    network, params = make("autoencoder"), drawn("autoencoder")
    kernel, bias = (np.asarray(params["blocks_0"][name]) for name in ("kernel", "hidden_bias"))

    def sigmoid(values):
        return 1 / (1 + np.exp(-values))

    images = np.asarray(IMAGES) / 255
    expected = sigmoid(sigmoid(images @ kernel + bias) @ kernel.T)
    np.testing.assert_allclose(network.reconstruct(params, IMAGES), expected, rtol=1e-4)
    loss = np.mean((expected - images) ** 2)
    assert float(network.loss_fn(params, BATCH)) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("name", ["lenet", "lstm", "mlp"])
def test_classifiers_have_the_cross_entropy_of_their_logits(name):
    network = make(name)
    params = drawn(name)
    logits = np.asarray(network.logits(params, IMAGES), np.float64)
    assert logits.shape == (6, 10)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    expected = np.mean(log_sum - logits[np.arange(6), np.asarray(BATCH["labels"])])
    assert float(network.loss_fn(params, BATCH)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", HIDDEN)
def test_zeros_give_the_loss_that_the_scale_ends_with(name):
    network = make(name)
    zeros = jax.tree.map(jnp.zeros_like, drawn(name))
    loss = float(network.loss_fn(zeros, BATCH))
    if network.logits:
        assert loss == pytest.approx(np.log(10), rel=1e-5)
    else:
        images = np.asarray(IMAGES) / 255
        assert loss == pytest.approx(np.mean((images - 0.5) ** 2), rel=1e-4)


@pytest.mark.parametrize("name", HIDDEN)
def test_the_gradient_leads_downhill(name):
    network = make(name)
    params = drawn(name)
    loss, gradient = network.value_and_grad(params, BATCH)
    assert float(loss) == pytest.approx(float(network.loss_fn(params, BATCH)), rel=1e-5)
    moved = jax.tree.map(lambda leaf, slope: leaf - 0.01 * slope, params, gradient)
    assert float(network.loss_fn(moved, BATCH)) < float(loss)


@pytest.mark.parametrize("name", ["autoencoder", "deep-autoencoder"])
def test_a_tidy_autoencoder_gives_the_same_without_biases_of_dead_units(name):
    network = make(name)
    params = jax.tree.map(lambda leaf: leaf + 0.3, drawn(name))
    first, *others = (params[f"blocks_{index}"] for index in range(len(params)))
    first["kernel"] = first["kernel"].at[:, :3].set(0)
    if others:  # a unit without inputs whose output has weights is alive
        others[0]["kernel"] = others[0]["kernel"].at[0].set(0).at[2].set(0)
        others[0]["kernel"] = others[0]["kernel"].at[:, 4].set(0)
    dead = [[0, 2], [4]] if others else [[0, 1, 2]]
    tidied = network.tidy(params)
    for index, units in enumerate(dead):
        old, new = (tree[f"blocks_{index}"] for tree in (params, tidied))
        np.testing.assert_array_equal(new["kernel"], old["kernel"])
        expected = old["hidden_bias"].at[jnp.array(units)].set(0)
        np.testing.assert_array_equal(new["hidden_bias"], expected)
    assert network.reconstruct
    restored = (network.reconstruct(each, IMAGES) for each in (params, tidied))
    np.testing.assert_array_equal(*restored)
    population = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), tidied)
    jax.tree.map(np.testing.assert_array_equal, network.tidy(population), both)


def test_classifiers_are_tidy_as_they_are():
    params = drawn("mlp")
    assert make("mlp").tidy(params) is params
