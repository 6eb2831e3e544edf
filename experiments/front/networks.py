"""Networks to evolve, as pure functions of their parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, UInt8

import gajax
from experiments.autoencoder.model import TiedAutoencoder, unit_interval
from experiments.front.models import BIAS, MLP, LeNet5, LSTMClassifier
from experiments.running.precision import with_precision
from gajax.types import LossFn, Params, ValueAndGrad

Batch = dict[str, Array]
"""`images` uint8 [B, I] and `labels` int32 [B]."""

WEIGHT_BOUND, BIAS_BOUND = 10.0, 20.0
"""Published bounds on the magnitudes of weights and biases (Yang et al.)."""


def _unchanged(params: Params) -> Params:
    return params


class Network(NamedTuple):
    """Functions of a network; `reconstruct` and `encode` only of autoencoders.

    `tidy` sets genes to zero that change no output, of an individual or a population.
    """

    init: Callable[[Key[Array, ""]], Params]
    loss_fn: LossFn
    value_and_grad: ValueAndGrad
    bound: PyTree[float]
    logits: Callable[[Params, UInt8[Array, "B I"]], Float[Array, "B K"]] | None = None
    reconstruct: Callable[[Params, UInt8[Array, "B I"]], Float[Array, "B I"]] | None = None
    encode: Callable[[Params, UInt8[Array, "B I"]], Float[Array, "B K"]] | None = None
    tidy: Callable[[Params], Params] = _unchanged


@cache  # so that runs with equal settings share their programs
def make(
    name: str,
    hidden: tuple[int, ...],
    shape: tuple[int, ...],
    classes: int,
    precision: str = "float32",
) -> Network:
    """Make a network by name for images of shape [H, W, C].

    It computes in the precision; parameters, gradients and losses are float32.
    """
    if name in ("autoencoder", "deep-autoencoder"):
        return _autoencoder(hidden, math.prod(shape), precision)
    if name == "lenet":
        model = LeNet5(classes)
    elif name == "lstm":
        model = LSTMClassifier(*hidden, classes=classes)
    else:
        model = MLP(hidden, classes)

    apply = with_precision(precision, model.apply)

    def init(key: Key[Array, ""]) -> Params:
        return model.init(key, jnp.zeros(shape, jnp.float32))["params"]

    def logits(params: Params, images: UInt8[Array, "B I"]) -> Float[Array, "B K"]:
        inputs = unit_interval(images).reshape(-1, *shape)
        return apply({"params": params}, inputs)

    def loss_fn(params: Params, batch: Batch) -> Float[Array, ""]:
        predicted = logits(params, batch["images"])
        return optax.softmax_cross_entropy_with_integer_labels(predicted, batch["labels"]).mean()

    return Network(init, loss_fn, jax.value_and_grad(loss_fn), _bounds(init), logits=logits)


def data(
    images: np.ndarray, labels: Int[np.ndarray, " N"], order_key: Key[Array, ""]
) -> gajax.Data:
    """Convert images uint8 [N, H, W, C] and labels to data of the algorithms."""
    flat = jnp.asarray(images.reshape(len(images), -1))
    return gajax.Data({"images": flat, "labels": jnp.asarray(labels)}, order_key)


def _autoencoder(hidden: tuple[int, ...], pixels: int, precision: str) -> Network:
    """A tied sigmoid autoencoder with biases in the encoder only and the gradient `gajax.tied`."""
    model = TiedAutoencoder(
        (pixels, *hidden),
        jax.nn.sigmoid,
        biases=True,
        visible_biases=False,
        output_activation=jax.nn.sigmoid,
    )

    def init(key: Key[Array, ""]) -> Params:
        """Uniform up to 6 / sqrt(inputs + outputs) as published; Glorot if deep."""
        key_model, key_uniform = jax.random.split(key)
        drawn: Any = model.init(key_model, jnp.zeros(pixels, jnp.float32))["params"]
        if len(hidden) > 1:
            return {
                name: {**block, "hidden_bias": jnp.full_like(block["hidden_bias"], BIAS)}
                for name, block in drawn.items()
            }
        limit = 6 / math.sqrt(pixels + 1 + sum(hidden))

        def uniform(key: Key[Array, ""], leaf: Array) -> Array:
            return jax.random.uniform(key, leaf.shape, leaf.dtype, -limit, limit)

        return gajax.individual.map_with_key(key_uniform, uniform, drawn)

    def restore(encoder: Params, decoder: Params, images: Array) -> Array:
        code: Any = model.apply({"params": encoder}, images, method="encode")
        restored: Any = model.apply({"params": decoder}, code, method="decode")
        return restored

    restore = with_precision(precision, restore)

    def untied_loss(encoder: Params, decoder: Params, batch: Batch) -> Float[Array, ""]:
        images = unit_interval(batch["images"])
        return jnp.mean((restore(encoder, decoder, images) - images) ** 2)

    def loss_fn(params: Params, batch: Batch) -> Float[Array, ""]:
        return untied_loss(params, params, batch)

    def reconstruct(params: Params, images: UInt8[Array, "B I"]) -> Float[Array, "B I"]:
        return restore(params, params, unit_interval(images))

    def encode(params: Params, images: UInt8[Array, "B I"]) -> Float[Array, "B K"]:
        code: Any = model.apply({"params": params}, unit_interval(images), method="encode")
        return code

    return Network(
        init,
        loss_fn,
        gajax.tied(untied_loss),
        _bounds(init),
        reconstruct=reconstruct,
        encode=encode,
        tidy=_without_dead_units,
    )


def _without_dead_units(params: Params) -> Params:
    """An autoencoder whose hidden units without a weight have no bias either."""
    blocks = [params[f"blocks_{index}"] for index in range(len(params))]
    kernels = [block["kernel"] != 0 for block in blocks]
    alive = [kernel.any(axis=-2) for kernel in kernels]
    for index, kernel in enumerate(kernels[1:]):
        alive[index] |= kernel.any(axis=-1)
    return {
        f"blocks_{index}": {**block, "hidden_bias": jnp.where(is_alive, block["hidden_bias"], 0)}
        for index, (block, is_alive) in enumerate(zip(blocks, alive, strict=True))
    }


def _bounds(init: Callable[[Key[Array, ""]], Params]) -> PyTree[float]:
    individual = jax.eval_shape(init, jax.random.key(0))
    is_bias = gajax.individual.leaf_mask(individual, lambda path, leaf: path.endswith("bias"))
    return jax.tree.map(lambda bias: BIAS_BOUND if bias else WEIGHT_BOUND, is_bias)
