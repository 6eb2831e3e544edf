"""The tied autoencoder, as a Flax module."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class TiedDense(nn.Module):
    """A dense layer that can also be applied in reverse, by the transpose of its kernel.

    Attributes:
      inputs: input width.
      outputs: output width.
      biases: whether to add a bias, a separate one for each direction.
      visible_biases: whether `transposed` has a bias if `biases` is true.
    """

    inputs: int
    outputs: int
    biases: bool = False
    visible_biases: bool = True

    def setup(self):
        """Create the kernel, Glorot-uniform, and biases of zero, in float32."""
        shape = (self.inputs, self.outputs)
        # Without a type, they would be float64 under `jax_enable_x64`.
        glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros
        self.kernel = self.param("kernel", glorot, shape, jnp.float32)
        if self.biases:
            self.hidden_bias = self.param("hidden_bias", zeros, (self.outputs,), jnp.float32)
        if self.biases and self.visible_biases:
            self.visible_bias = self.param("visible_bias", zeros, (self.inputs,), jnp.float32)

    def __call__(self, visible: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply the layer."""
        hidden = visible @ self.kernel
        return hidden + self.hidden_bias if self.biases else hidden

    def transposed(self, hidden: Float[Array, "*B O"]) -> Float[Array, "*B I"]:
        """Apply the layer in reverse."""
        visible = hidden @ self.kernel.T
        return visible + self.visible_bias if self.biases and self.visible_biases else visible


class TiedAutoencoder(nn.Module):
    """An autoencoder whose decoder is the transpose of its encoder (arXiv 1711.07655).

    The activation follows every layer except the last one of the decoder, which has
    `output_activation`. Parameters are `{"blocks_0": {"kernel": [784, 500]}, "blocks_1": ...}`.

    Attributes:
      layers: widths from the image to the code, such as (784, 500, 250, 100, 50).
      activation: elementwise function.
      biases: whether layers have biases, a separate one for each direction.
      visible_biases: whether the decoder has biases if `biases` is true.
      output_activation: elementwise function of the reconstruction, None for the identity.
    """

    layers: tuple[int, ...]
    activation: Callable[[Array], Array] = jnp.tanh
    biases: bool = False
    visible_biases: bool = True
    output_activation: Callable[[Array], Array] | None = None

    def setup(self):
        """Create one block for each pair of consecutive widths."""
        self.blocks = [
            TiedDense(inputs, outputs, self.biases, self.visible_biases)
            for inputs, outputs in zip(self.layers, self.layers[1:], strict=False)
        ]

    def __call__(self, images: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
        """Reconstruct the images."""
        return self.decode(self.encode(images))

    def encode(
        self, values: Float[Array, "*B I"], start: int = 0, stop: int | None = None
    ) -> Float[Array, "*B O"]:
        """Map the input of block `start` to the output of the block before `stop`."""
        for block in self.blocks[start:stop]:
            values = self.activation(block(values))
        return values

    def decode(
        self, code: Float[Array, "*B O"], start: int = 0, stop: int | None = None
    ) -> Float[Array, "*B I"]:
        """Map the output of the block before `stop` back to the input of block `start`."""
        for index in reversed(range(len(self.blocks))[start:stop]):
            code = self.blocks[index].transposed(code)
            activation = self.activation if index > 0 else self.output_activation
            code = activation(code) if activation else code
        return code


def unit_interval(pixels: Array) -> Float[Array, "..."]:
    """Scale uint8 pixels to floats in [0, 1]; leave other arrays unchanged."""
    return pixels.astype(jnp.float32) / 255 if pixels.dtype == jnp.uint8 else pixels


def block_params(params: dict, start: int, stop: int) -> dict:
    """The parameters of the blocks from `start` to before `stop`."""
    return {f"blocks_{index}": params[f"blocks_{index}"] for index in range(start, stop)}
