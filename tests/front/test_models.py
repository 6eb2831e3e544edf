"""The classifiers against the layers of Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.front.models import LeNet5


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
