"""Dense ReLU networks, with losses that work on arrays of both NumPy and JAX.

A network is a list of layers, dicts with a `kernel` [..., inputs, outputs] and a `bias` [...,
outputs]. In NumPy it may be a whole population, with the axis P on every leaf.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Network = list[dict[str, Any]]


def draw(random: np.random.RandomState, size: int, widths: Sequence[int]) -> Network:
    """A population of `size` networks, whose `widths` are those of the inputs and all layers.

    Normal, with Glorot's standard deviation for kernels and biases alike, so that magnitudes can
    be compared between layers and pruning by them neither empties a layer nor begins with biases.
    """

    def normal(scale: float, *shape: int) -> np.ndarray:
        return random.normal(0, scale, (size, *shape)).astype(np.float32)

    layers = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        scale = math.sqrt(2 / (inputs + outputs))
        kernel, bias = normal(scale, inputs, outputs), normal(scale, outputs)
        layers.append({"kernel": kernel, "bias": bias})
    return layers


def outputs(network: Network, inputs: Any) -> Any:
    """Outputs [..., B, K] for inputs [B, F]."""
    *hidden, last = network
    for layer in hidden:
        inputs = (inputs @ layer["kernel"] + layer["bias"][..., None, :]).clip(0)
    return inputs @ last["kernel"] + last["bias"][..., None, :]


def cross_entropy(network: Network, batch: dict[str, Any]) -> Any:
    """Mean cross-entropy of `inputs` [B, F] with labels `targets` [B], in nats."""
    logits = outputs(network, batch["inputs"])
    arrays = logits.__array_namespace__()
    logits = logits - logits.max(-1, keepdims=True)
    is_label = batch["targets"][:, None] == arrays.arange(logits.shape[-1])
    of_label = arrays.where(is_label, logits, 0).sum(-1)
    return (arrays.log(arrays.exp(logits).sum(-1)) - of_label).mean(-1)


def squared_error(network: Network, batch: dict[str, Any]) -> Any:
    """Mean squared error of `inputs` [B, F] with `targets` [B, K]."""
    return ((outputs(network, batch["inputs"]) - batch["targets"]) ** 2).mean((-1, -2))
