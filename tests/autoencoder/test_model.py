"""The tied autoencoder against NumPy, and its parts against the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from experiments.autoencoder.model import TiedAutoencoder, block_params, unit_interval

LAYERS = (9, 6, 4, 2)
ACTIVATIONS = {"tanh": (jnp.tanh, np.tanh), "relu": (jax.nn.relu, lambda x: np.maximum(x, 0))}
IMAGES = jax.random.uniform(jax.random.key(0), (5, 9))


def model(name="tanh", biases=False):
    return TiedAutoencoder(LAYERS, ACTIVATIONS[name][0], biases)


def drawn(biases=False, scale=3.0):
    """Parameters large enough to saturate the activations, biases included."""
    params = model(biases=biases).init(jax.random.key(1), IMAGES)["params"]
    keys = iter(jax.random.split(jax.random.key(2), 99))
    return jax.tree.map(lambda leaf: scale * jax.random.normal(next(keys), leaf.shape), params)


def apply(model, params, *arguments, method="__call__"):
    return model.apply({"params": params}, *arguments, method=method)


def expected_code_and_images(params, activation):
    """In NumPy: what the encoder and the decoder give."""
    blocks = [jax.tree.map(np.asarray, params[f"blocks_{index}"]) for index in range(3)]
    values = np.asarray(IMAGES)
    for block in blocks:
        values = activation(values @ block["kernel"] + block.get("hidden_bias", 0))
    code = values
    for index in (2, 1, 0):
        values = values @ blocks[index]["kernel"].T + blocks[index].get("visible_bias", 0)
        values = activation(values) if index else values
    return code, values


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_network_computes_what_numpy_computes(name, biases):
    params = drawn(biases)
    code, images = expected_code_and_images(params, ACTIVATIONS[name][1])
    network = model(name, biases)
    np.testing.assert_allclose(apply(network, params, IMAGES, method="encode"), code, rtol=1e-4)
    np.testing.assert_allclose(apply(network, params, IMAGES), images, rtol=1e-4, atol=1e-4)
    decoded = apply(network, params, jnp.asarray(code), method="decode")
    np.testing.assert_allclose(decoded, images, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_reconstruction_has_no_activation(name):
    images = apply(model(name), drawn(), IMAGES)
    assert images.min() < -1 and images.max() > 1


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_any_leading_axes_pass(leading):
    images = jnp.zeros((*leading, 9))
    assert apply(model(), drawn(), images, method="encode").shape == (*leading, 2)
    assert apply(model(), drawn(), images).shape == images.shape


@pytest.mark.parametrize("biases", [False, True])
def test_parts_compose_to_the_whole(biases):
    network, params = model(biases=biases), drawn(biases)

    def run(method, values, *bounds):
        return apply(network, params, values, *bounds, method=method)

    code = run("encode", IMAGES)
    for cut in (1, 2):
        half = run("encode", IMAGES, 0, cut)
        np.testing.assert_array_equal(run("encode", half, cut), code)
        middle = run("decode", code, cut)
        assert middle.shape == half.shape
        np.testing.assert_array_equal(run("decode", middle, 0, cut), run("decode", code))


@pytest.mark.parametrize("biases", [False, True])
def test_parameters_are_one_kernel_a_block_and_two_biases_where_wanted(biases):
    params = model(biases=biases).init(jax.random.key(0), IMAGES)["params"]
    shapes = {}
    for index, (inputs, outputs) in enumerate([(9, 6), (6, 4), (4, 2)]):
        shapes[f"blocks_{index}"] = {"kernel": (inputs, outputs)}
        if biases:
            shapes[f"blocks_{index}"] |= {"hidden_bias": (outputs,), "visible_bias": (inputs,)}
    assert jax.tree.map(jnp.shape, params) == shapes
    for block in params.values():
        assert not block.get("hidden_bias", jnp.zeros(1)).any()
        assert not block.get("visible_bias", jnp.zeros(1)).any()


def test_the_gradient_of_a_kernel_is_the_sum_of_both_its_uses():
    network = TiedAutoencoder((9, 4), jnp.tanh)
    kernel = jax.random.normal(jax.random.key(3), (9, 4))

    def tied(kernel):
        return jnp.mean((apply(network, {"blocks_0": {"kernel": kernel}}, IMAGES) - IMAGES) ** 2)

    def untied(encoder, decoder):
        return jnp.mean((jnp.tanh(IMAGES @ encoder) @ decoder.T - IMAGES) ** 2)

    encoder, decoder = jax.grad(untied, (0, 1))(kernel, kernel)
    assert abs(encoder).max() > 1e-3 and abs(decoder).max() > 1e-3
    np.testing.assert_allclose(jax.grad(tied)(kernel), encoder + decoder, rtol=1e-4, atol=1e-6)


def test_kernels_are_glorot_uniform_and_differ_between_individuals():
    network = TiedAutoencoder((300, 100))
    image = jnp.zeros(300)
    population = gajax.init(jax.random.key(4), lambda key: network.init(key, image)["params"], 2)
    kernels = np.asarray(population["blocks_0"]["kernel"])
    limit = np.sqrt(6 / 400)
    assert 0.999 * limit < abs(kernels).max() <= limit
    assert abs(kernels.mean()) <= 5 * limit / np.sqrt(3 * kernels.size)
    variance = limit**2 / 3
    assert abs(kernels.var() - variance) <= 5 * variance * np.sqrt(0.8 / kernels.size)
    assert (kernels[0] != kernels[1]).mean() > 0.99


def test_pixels_come_into_the_unit_interval_once():
    pixels = jnp.array([0, 51, 255], jnp.uint8)
    scaled = unit_interval(pixels)
    assert scaled.dtype == jnp.float32
    np.testing.assert_allclose(scaled, [0, 0.2, 1], rtol=1e-6)
    np.testing.assert_array_equal(unit_interval(scaled), scaled)


def test_block_params_picks_blocks_by_number():
    params = drawn()
    assert list(block_params(params, 1, 3)) == ["blocks_1", "blocks_2"]
    assert block_params(params, 1, 3)["blocks_2"] is params["blocks_2"]
    assert block_params(params, 0, 0) == {}
