"""Products of bfloat16: a little off, never far; float32 stays what it was."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.autoencoder import layerwise, training
from experiments.autoencoder.model import TiedAutoencoder
from experiments.datasets.catalog import load
from experiments.front import measures as fronts
from experiments.front import networks
from experiments.front import training as front_training
from experiments.front.config import Config
from experiments.running.precision import with_precision

HIDDEN = {
    "autoencoder": (32,),
    "deep-autoencoder": (32, 16),
    "lenet": (),
    "lstm": (16,),
    "mlp": (9,),
}


def step(name, precision):
    """A loss with its gradient, and what to call it with."""
    dataset = load("mnist5k")
    images = jnp.asarray(dataset.train_images[:32].reshape(32, -1))
    if name != "layers":
        network = networks.make(name, HIDDEN[name], (28, 28, 1), 10, precision)
        batch = {"images": images, "labels": jnp.asarray(dataset.train_labels[:32])}
        return jax.jit(network.value_and_grad), (network.init(jax.random.key(0)), batch)
    model = TiedAutoencoder((784, 32, 16))
    phase = layerwise.whole_phase(model.layers, 1, 1)
    loss_fn = layerwise.reconstruction_loss(model, phase, "image", precision)
    params = model.init(jax.random.key(0), jnp.zeros(784))["params"]
    return jax.jit(jax.value_and_grad(loss_fn)), (params, {"inputs": images}, {})


def flat(tree):
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(tree))
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("name", [*HIDDEN, "layers"])
def test_losses_and_gradients_are_a_little_off(name):
    found = {}
    for precision in ("float32", "bfloat16"):
        function, arguments = step(name, precision)
        found[precision] = [flat(part) for part in function(*arguments)]
    for exact, rounded, most in zip(found["float32"], found["bfloat16"], (0.01, 0.2), strict=True):
        off = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
        assert 0 < off < most


@pytest.mark.parametrize("name", ["autoencoder", "deep-autoencoder", "lenet", "mlp", "layers"])
def test_every_product_reads_bfloat16(name):
    function, arguments = step(name, "bfloat16")
    text = function.lower(*arguments).as_text()
    products = re.findall(r"stablehlo\.dot_general.*", text)
    assert len(products) >= 4 and not any("f32" in line for line in products)


def test_float32_is_the_same_program():
    def function(weights, values):
        return jnp.tanh(values @ weights)

    shapes = jnp.ones((3, 4)), jnp.ones((2, 3))
    given = jax.make_jaxpr(with_precision("float32", function))(*shapes)
    assert str(given) == str(jax.make_jaxpr(function)(*shapes))


@pytest.mark.heavy
def test_a_front_learns_in_bfloat16_and_is_measured_in_float32():
    config = Config(
        hidden=(8,), population_size=4, generations=1, budget=None, refine_steps=2, chunk_size=2
    )
    exact, rounded = (
        front_training.train(replace(config, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    for one, other in zip(exact.rows, rounded.rows, strict=True):
        assert one["best_loss"] != other["best_loss"]
        assert one["best_loss"] == pytest.approx(other["best_loss"], rel=0.02)
    data = front_training._parts(rounded.dataset, 0, jax.random.key(0))["train"]
    losses = fronts.losses(exact.network, rounded.population, data)
    np.testing.assert_array_equal(losses, rounded.members.train_loss)
    flat(rounded.population)


def test_layers_learn_in_bfloat16(small_config):
    config = replace(small_config, method="sgd", layers=(784, 16), generations=(1,), svm_gamma=1.0)
    exact, rounded = (
        training.train(replace(config, precision=precision)).summary["test_rmse"]
        for precision in ("float32", "bfloat16")
    )
    assert exact != rounded
    assert exact == pytest.approx(rounded, rel=0.02)
