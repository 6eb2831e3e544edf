"""Classifiers as Flax modules."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

BIAS = 0.01
"""Initial value of biases, nonzero because sparse gradient steps keep zeros."""


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998): two convolutions with average pooling and three dense layers.

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
            layer = nn.Conv(
                features,
                (5, 5),
                padding=padding,
                kernel_init=glorot,
                bias_init=bias,
                conv_general_dilated=convolution,
            )
            images = nn.avg_pool(jnp.tanh(layer(images)), (2, 2), strides=(2, 2))
        values = images.reshape(*images.shape[:-3], -1)
        for width in (120, 84):
            values = jnp.tanh(nn.Dense(width, kernel_init=glorot, bias_init=bias)(values))
        return nn.Dense(self.classes, kernel_init=glorot, bias_init=bias)(values)


def convolution(
    images: Array, kernel: Array, strides: object, padding: str, **_: object
) -> Float[Array, "B H W O"]:
    """A convolution of stride 1 as a matrix product.

    XLA's convolution is six times slower on a CPU inside a loop, as in training of a population.
    """
    height, width = kernel.shape[:2]
    if padding == "SAME":
        sides = [((size - 1) // 2, size // 2) for size in (height, width)]
        images = jnp.pad(images, ((0, 0), *sides, (0, 0)))
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    # Columns first, then rows: a slice per kernel element takes up to twice as long to compile.
    for axis, shifts, count in ((2, width, columns), (1, height, rows)):
        shifted = [
            lax.slice_in_dim(images, shift, shift + count, axis=axis) for shift in range(shifts)
        ]
        images = jnp.concatenate(shifted, axis=-1)
    return images @ kernel.reshape(-1, kernel.shape[-1])


class LSTMClassifier(nn.Module):
    """An LSTM that reads an image row by row, with a dense layer on its last output.

    Attributes:
      hidden: number of features of the LSTM.
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
        outputs = jnp.asarray(nn.RNN(cell)(images.reshape(*images.shape[:-2], -1)))
        values = outputs[..., -1, :]
        return nn.Dense(self.classes, kernel_init=glorot, bias_init=bias)(values)


class MLP(nn.Module):
    """Dense layers with ReLU activations.

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
