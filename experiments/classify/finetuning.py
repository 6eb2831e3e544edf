"""Training of an encoder with a softmax layer on top (Yang et al.)."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.linen import initializers
from jaxtyping import Array, Float, Key, UInt8

import gajax
from experiments.front.networks import Batch, Network
from gajax.types import LossFn, Params, ValueAndGrad

EPOCHS, BATCH_SIZE, LEARNING_RATE, MOMENTUM = 20, 128, 0.1, 0.9
"""Published settings."""


def classifier(network: Network, pixels: int, classes: int) -> Network:
    """The encoder of an autoencoder with a softmax layer: {"encoder": ..., "softmax": ...}."""
    encode = network.encode
    assert encode is not None, "only autoencoders have an encoder"

    def init(key: Key[Array, ""]) -> Params:
        key_encoder, key_softmax = jax.random.split(key)
        encoder = network.init(key_encoder)
        hidden = jax.eval_shape(encode, encoder, jax.ShapeDtypeStruct((1, pixels), jnp.uint8))
        shape = hidden.shape[1], classes
        kernel = initializers.glorot_uniform()(key_softmax, shape, jnp.float32)
        bias = jnp.zeros(classes, jnp.float32)
        return {"encoder": encoder, "softmax": {"kernel": kernel, "bias": bias}}

    def logits(params: Params, images: UInt8[Array, "B I"]) -> Float[Array, "B K"]:
        softmax = params["softmax"]
        return encode(params["encoder"], images) @ softmax["kernel"] + softmax["bias"]

    def loss_fn(params: Params, batch: Batch) -> Float[Array, ""]:
        predicted = logits(params, batch["images"])
        return optax.softmax_cross_entropy_with_integer_labels(predicted, batch["labels"]).mean()

    return network._replace(
        init=init, loss_fn=loss_fn, value_and_grad=jax.value_and_grad(loss_fn), logits=logits
    )


def population(
    key: Key[Array, ""], network: Network, repeats: int, encoders: Params | None = None
) -> Params:
    """Draw `repeats` classifiers, or put their softmax layers on each of P encoders: [P R, ...].

    All encoders, pre-trained or random, start with the same softmax layers.
    """
    drawn: Any = jax.jit(gajax.init, static_argnums=(1, 2))(key, network.init, repeats)
    if encoders is None:
        return drawn
    size = gajax.size(encoders)
    return {
        "encoder": jax.tree.map(lambda leaf: jnp.repeat(leaf, repeats, axis=0), encoders),
        "softmax": jax.tree.map(
            lambda leaf: jnp.tile(leaf, (size, *[1] * (leaf.ndim - 1))), drawn["softmax"]
        ),
    }


def train(network: Network, classifiers: Params, data: gajax.Data, *, keep_zeros: bool) -> Params:
    """Train classifiers [P, ...] on the same batches; `keep_zeros` preserves zeros of encoders."""
    batch_size = min(BATCH_SIZE, gajax.size(data.examples))
    algorithm = _algorithm(network.loss_fn, network.value_and_grad, batch_size, keep_zeros)
    steps = gajax.evolve(algorithm, jax.random.key(0), classifiers, data, generations=EPOCHS)
    *_, (state, _) = steps
    return state.params


@lru_cache(maxsize=4)  # compiled programs are cached by algorithm
def _algorithm(
    loss_fn: LossFn, value_and_grad: ValueAndGrad, batch_size: int, keep_zeros: bool
) -> gajax.Algorithm:
    optimizer: optax.GradientTransformation = optax.sgd(LEARNING_RATE, MOMENTUM)
    if keep_zeros:
        optimizer = gajax.sparse(optimizer, may_be_zero=lambda path, _: path.startswith("encoder"))
    return gajax.descent(
        loss_fn,
        optimizer=optimizer,
        batch_size=batch_size,
        value_and_grad=value_and_grad,
    )
