"""The classifiers against the layers of Flax."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.front.models import LeNet5, convolution


def test_lenet_convolves_as_flax_does():
    images = jax.random.normal(jax.random.key(3), (2, 28, 28, 1))
    network = LeNet5()
    params = network.init(jax.random.key(4), images)["params"]

    def convolved(values, layer, padding):
        layer = nn.Conv(layer["kernel"].shape[-1], (5, 5), padding=padding).bind({"params": layer})
        return nn.avg_pool(jnp.tanh(layer(values)), (2, 2), strides=(2, 2))

    values = convolved(images, params["Conv_0"], "SAME")
    values = convolved(values, params["Conv_1"], "VALID").reshape(2, -1)
    for name in ("Dense_0", "Dense_1"):
        values = jnp.tanh(values @ params[name]["kernel"] + params[name]["bias"])
    expected = values @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]
    np.testing.assert_allclose(network.apply({"params": params}, images), expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window", [(5, 5), (4, 4), (2, 5)])
def test_theconvolution_and_its_gradient_are_those_of_xla(window, padding):
    images = jax.random.normal(jax.random.key(5), (2, 9, 8, 3))
    kernel = jax.random.normal(jax.random.key(6), (*window, 3, 4))

    def expected(images, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), padding, dimension_numbers=layout
        )

    def own(images, kernel):
        return convolution(images, kernel, (1, 1), padding)

    @jax.jit
    def compared(images, kernel):
        """What both give, and what both make of the same random gradient of it."""
        results, backward = zip(
            *(jax.vjp(of, images, kernel) for of in (own, expected)), strict=True
        )
        cotangent = jax.random.normal(jax.random.key(7), results[0].shape)
        return results, [back(cotangent) for back in backward]

    for pair in compared(images, kernel):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=5e-5), *pair)
