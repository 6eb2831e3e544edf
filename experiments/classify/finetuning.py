"""A softmax classifier on the hidden layer of autoencoders, both trained together (Yang et al.)."""

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
"""As published."""


def classifier(network: Network, pixels: int, classes: int) -> Network:
    """The autoencoder's encoder with a softmax layer on it: {"encoder": ..., "softmax": ...}."""
    encode = network.encode
    assert encode is not None, "only autoencoders have a hidden layer to build on"

    def init(key: Key[Array, ""]) -> Params:
        key_encoder, key_softmax = jax.random.split(key)
        encoder = network.init(key_encoder)
        hidden = jax.eval_shape(encode, encoder, jax.ShapeDtypeStruct((1, pixels), jnp.uint8))
        kernel = initializers.glorot_uniform()(key_softmax, (hidden.shape[1], classes))
        return {"encoder": encoder, "softmax": {"kernel": kernel, "bias": jnp.zeros(classes)}}

    def logits(params: Params, images: UInt8[Array, "B I"]) -> Float[Array, "B K"]:
        softmax = params["softmax"]
        return encode(params["encoder"], images) @ softmax["kernel"] + softmax["bias"]

    def loss_fn(params: Params, batch: Batch) -> Float[Array, ""]:
        found = logits(params, batch["images"])
        return optax.softmax_cross_entropy_with_integer_labels(found, batch["labels"]).mean()

    return network._replace(
        init=init, loss_fn=loss_fn, value_and_grad=jax.value_and_grad(loss_fn), logits=logits
    )


def population(
    key: Key[Array, ""], network: Network, repeats: int, encoders: Params | None = None
) -> Params:
    """`repeats` fresh classifiers or, on each of P encoders, their softmax layers: [P R, ...].

    So every encoder starts with the same layers, and so does what has no pre-trained one.
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
    """Train classifiers [P, ...], all on the same batches; learning of labels starts here.

    With `keep_zeros`, what is zero in an encoder stays zero.
    """
    batch_size = min(BATCH_SIZE, gajax.size(data.examples))
    algorithm = _algorithm(network.loss_fn, network.value_and_grad, batch_size, keep_zeros)
    steps = gajax.evolve(algorithm, jax.random.key(0), classifiers, data, generations=EPOCHS)
    *_, (state, _) = steps
    return state.params


@lru_cache(maxsize=4)  # programs are kept by algorithm
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
