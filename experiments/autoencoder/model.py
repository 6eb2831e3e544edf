"""Networks of the published experiments, as Flax modules."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

BIAS = 0.01
"""What the biases of the classifiers start at: not zero, or sparse steps would never move them."""


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


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998): two convolutions with average pooling, three dense layers.

    Attributes:
      classes: number of outputs.
    """

    classes: int = 10

    @nn.compact
    def __call__(self, images: Float[Array, "*B H W C"]) -> Float[Array, "*B K"]:
        """Logits."""
        bias = nn.initializers.constant(BIAS)
        glorot = nn.initializers.glorot_uniform()
        for features, padding in ((6, "SAME"), (16, "VALID")):
            convolution = nn.Conv(
                features,
                (5, 5),
                padding=padding,
                kernel_init=glorot,
                bias_init=bias,
                conv_general_dilated=_convolution,
            )
            images = nn.avg_pool(jnp.tanh(convolution(images)), (2, 2), strides=(2, 2))
        values = images.reshape(*images.shape[:-3], -1)
        for width in (120, 84):
            values = jnp.tanh(nn.Dense(width, kernel_init=glorot, bias_init=bias)(values))
        return nn.Dense(self.classes, kernel_init=glorot, bias_init=bias)(values)


def _convolution(
    images: Array, kernel: Array, strides: object, padding: str, **_: object
) -> Float[Array, "B H W O"]:
    """A convolution of stride 1 as a product of matrices.

    XLA's own is six times slower on a CPU inside a loop, which is where a population learns.
    """
    height, width = kernel.shape[:2]
    if padding == "SAME":
        sides = [((size - 1) // 2, size // 2) for size in (height, width)]
        images = jnp.pad(images, ((0, 0), *sides, (0, 0)))
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    patches = [
        images[:, row : row + rows, column : column + columns]
        for row in range(height)
        for column in range(width)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


class LSTMClassifier(nn.Module):
    """Reads an image row by row; a dense layer classifies what is left in memory at the end.

    Attributes:
      hidden: width of the memory.
      classes: number of outputs.
    """

    hidden: int = 128
    classes: int = 10

    @nn.compact
    def __call__(self, images: Float[Array, "*B H W C"]) -> Float[Array, "*B K"]:
        """Logits."""
        bias = nn.initializers.constant(BIAS)
        glorot = nn.initializers.glorot_uniform()
        cell = nn.OptimizedLSTMCell(
            self.hidden,
            dtype=images.dtype,
            kernel_init=glorot,
            recurrent_kernel_init=glorot,
            bias_init=bias,
        )
        memory = jnp.asarray(nn.RNN(cell)(images.reshape(*images.shape[:-2], -1)))
        values = memory[..., -1, :]
        return nn.Dense(self.classes, kernel_init=glorot, bias_init=bias)(values)


class MLP(nn.Module):
    """Dense layers with rectified linear units between them.

    Attributes:
      hidden: widths of the hidden layers.
      classes: number of outputs.
    """

    hidden: tuple[int, ...] = (500,)
    classes: int = 10

    @nn.compact
    def __call__(self, images: Float[Array, "*B H W C"]) -> Float[Array, "*B K"]:
        """Logits."""
        bias = nn.initializers.constant(BIAS)
        glorot = nn.initializers.glorot_uniform()
        values = images.reshape(*images.shape[:-3], -1)
        for width in self.hidden:
            values = nn.relu(nn.Dense(width, kernel_init=glorot, bias_init=bias)(values))
        return nn.Dense(self.classes, kernel_init=glorot, bias_init=bias)(values)


def unit_interval(pixels: Array) -> Float[Array, "..."]:
    """Pixels as floats in [0, 1]; what is not uint8 is taken to be so already."""
    return pixels.astype(jnp.float32) / 255 if pixels.dtype == jnp.uint8 else pixels


def block_params(params: dict, start: int, stop: int) -> dict:
    """The parameters of the blocks `start` to `stop` alone."""
    return {f"blocks_{index}": params[f"blocks_{index}"] for index in range(start, stop)}
