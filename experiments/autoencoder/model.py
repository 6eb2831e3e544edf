"""The tied autoencoder, as a Flax module."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class TiedDense(nn.Module):
    """A layer that also runs backwards, through the transpose of the same kernel.

    Attributes:
      inputs: width of the side that `__call__` reads and `transposed` gives.
      outputs: width of the other side.
      biases: whether each direction adds a bias of its own.
      visible_biases: whether, of the two, the one of `transposed` is there too.
    """

    inputs: int
    outputs: int
    biases: bool = False
    visible_biases: bool = True

    def setup(self):
        """Draw the kernel Glorot-uniformly; biases start at zero."""
        shape = (self.inputs, self.outputs)
        self.kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        if self.biases:
            self.hidden_bias = self.param("hidden_bias", nn.initializers.zeros, (self.outputs,))
        if self.biases and self.visible_biases:
            self.visible_bias = self.param("visible_bias", nn.initializers.zeros, (self.inputs,))

    def __call__(self, visible: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Read `inputs` values, give `outputs`."""
        hidden = visible @ self.kernel
        return hidden + self.hidden_bias if self.biases else hidden

    def transposed(self, hidden: Float[Array, "*B O"]) -> Float[Array, "*B I"]:
        """Read `outputs` values, give `inputs`."""
        visible = hidden @ self.kernel.T
        return visible + self.visible_bias if self.biases and self.visible_biases else visible


class TiedAutoencoder(nn.Module):
    """An autoencoder whose decoder is the transpose of its encoder (arXiv 1711.07655).

    The activation stands behind every layer but the last one of the decoder, the reconstruction,
    which has one of its own, or none.
    Parameters are `{"blocks_0": {"kernel": [784, 500]}, "blocks_1": ...}`.

    Attributes:
      layers: widths from the image to the code, such as (784, 500, 250, 100, 50).
      activation: elementwise function.
      biases: whether layers have biases, one for each direction.
      visible_biases: whether the decoder has its biases too where there are any.
      output_activation: elementwise function of the reconstruction.
    """

    layers: tuple[int, ...]
    activation: Callable[[Array], Array] = jnp.tanh
    biases: bool = False
    visible_biases: bool = True
    output_activation: Callable[[Array], Array] | None = None

    def setup(self):
        """One block for each pair of neighbouring widths."""
        self.blocks = [
            TiedDense(inputs, outputs, self.biases, self.visible_biases)
            for inputs, outputs in zip(self.layers, self.layers[1:], strict=False)
        ]

    def __call__(self, images: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
        """Reconstruct."""
        return self.decode(self.encode(images))

    def encode(
        self, values: Float[Array, "*B I"], start: int = 0, stop: int | None = None
    ) -> Float[Array, "*B O"]:
        """From the input of block `start` to the output of the block before `stop`."""
        for block in self.blocks[start:stop]:
            values = self.activation(block(values))
        return values

    def decode(
        self, code: Float[Array, "*B O"], start: int = 0, stop: int | None = None
    ) -> Float[Array, "*B I"]:
        """From the output of the block before `stop` back to the input of block `start`."""
        for index in reversed(range(len(self.blocks))[start:stop]):
            code = self.blocks[index].transposed(code)
            activation = self.activation if index > 0 else self.output_activation
            code = activation(code) if activation else code
        return code


def unit_interval(pixels: Array) -> Float[Array, "..."]:
    """Pixels as floats in [0, 1]; what is not uint8 is taken to be so already."""
    return pixels.astype(jnp.float32) / 255 if pixels.dtype == jnp.uint8 else pixels


def block_params(params: dict, start: int, stop: int) -> dict:
    """The parameters of the blocks `start` to `stop` alone."""
    return {f"blocks_{index}": params[f"blocks_{index}"] for index in range(start, stop)}
