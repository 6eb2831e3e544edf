"""Losses and gradient steps of a whole population, in chunks that suit the device.

An individual with a gene that is not finite has a loss of NaN, even where its network hides it.
Losses are float32 whatever their function gives, or float64 where JAX has 64 bits enabled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8, PyTree

from gajax import bits
from gajax import population as populations
from gajax.individual import is_finite
from gajax.population import map_individuals
from gajax.types import Data, LossFn, Params, ValueAndGrad

SCORE_BATCH = 1_000
"""Examples that go through a loss at once where no gradient is wanted."""


def example_count(data: Data) -> int:
    """Number of examples N; ValueError where the leaves disagree about it or there are none."""
    return populations.size(data.examples)


def batch_order(
    data: Data, first: int | Int[Array, ""], count: int, *, batch_size: int
) -> Int[Array, "T B"]:
    """The examples of `count` batches of an endless sequence, from the batch `first` on.

    Epoch after epoch, each in its own random order; within an epoch no example comes twice, and
    fewer than B of them, those that fill no batch, are left out.
    """
    examples = example_count(data)
    epoch, index = jnp.divmod(first + jnp.arange(count), examples // batch_size)
    places = index[:, None] * batch_size + jnp.arange(batch_size)
    return bits.permuted(data.order_key, epoch, places, examples)


def batch_at(examples: PyTree, order: Int[Array, "T B"], index: int | Int[Array, ""]) -> Any:
    """The examples of one batch; behind the last one, the first comes again."""
    return jax.tree.map(lambda leaf: leaf[order[index % len(order)]], examples)


def gradient_steps(
    value_and_grad: ValueAndGrad,
    optimizer: optax.GradientTransformation,
    population: Params,
    optimizer_state: Any,
    data: Data,
    order: Int[Array, "T B"],
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""] | Int[Array, " P"],
    *,
    total: Float[Array, " P"] | None = None,
    chunk_size: int | None = None,
) -> tuple[Params, Any, Float[Array, " P"]]:
    """Train every individual by itself on the batches `start` to `stop` of `order`.

    Each individual may have a `stop` of its own. Returns the population, its optimiser states and
    `total` (None: zero) with the losses of the batches added. A batch whose loss is not finite is
    skipped, and so is a gene whose gradient is NaN. A chunk of individuals takes all its steps
    before the next chunk starts, so that its weights and moments stay in the cache. Optimisers that
    take `value`, `grad` or `value_fn`, such as `optax.lbfgs`, get them.
    """
    update = optax.with_extra_args_support(optimizer).update

    def train(individual, stop, examples, shared, order, start):
        def body(batch, carry):
            params, state, total = carry
            rows = batch_at(examples, order, batch)
            loss, gradient = value_and_grad(params, rows, *shared)
            gradient = jax.tree.map(partial(_usable, jnp.isfinite(loss)), gradient)
            extra = {"value": loss, "grad": gradient}
            extra["value_fn"] = lambda params: value_and_grad(params, rows, *shared)[0]
            updates, state = update(gradient, state, params, **extra)
            return optax.apply_updates(params, updates), state, total + loss

        params, state, total = lax.fori_loop(start, stop, body, individual)
        return params, state, _of_finite(params, total)

    total = jnp.zeros(populations.size(population)) if total is None else total
    individuals = population, optimizer_state, total
    common = data.examples, data.shared, order, start
    return _map_until(stop, train, individuals, *common, chunk_size=chunk_size)


def score_batches(examples: int) -> int:
    """Number of batches that `score` cuts so many examples into."""
    return -(-examples // SCORE_BATCH)


def score(
    loss_fn: LossFn,
    population: Params,
    data: Data,
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""] | Int[Array, " P"],
    *,
    examples: int,
    total: Float[Array, " P"] | None = None,
    chunk_size: int | None = None,
) -> Float[Array, " P"]:
    """Add to `total` (None: zero) every individual's losses on a part of the first `examples`.

    These are cut into batches of `SCORE_BATCH`, the last one smaller where they do not divide;
    `start` and `stop` count these batches, and each one's mean loss is weighted by its size. Each
    individual may have a `stop` of its own.
    """
    whole, rest = divmod(examples, SCORE_BATCH)

    def add(individual, stop, scored, shared, start):
        params, total = individual

        def add_batches(size, total, start, stop):
            def body(batch, total):
                first = batch * SCORE_BATCH
                rows = jax.tree.map(
                    lambda leaf: lax.dynamic_slice_in_dim(leaf, first, size), scored
                )
                return total + size * loss_fn(params, rows, *shared).astype(total.dtype)

            return lax.fori_loop(start, stop, body, total)

        if whole:
            total = add_batches(SCORE_BATCH, total, start, jnp.minimum(stop, whole))
        if rest:  # the last batch, where it is asked for
            total = add_batches(rest, total, jnp.maximum(start, whole), stop)
        return _of_finite(params, total)

    total = jnp.zeros(populations.size(population)) if total is None else total
    common = data.examples, data.shared, start
    return _map_until(stop, add, (population, total), *common, chunk_size=chunk_size)


def losses(
    loss_fn: LossFn, population: Params, data: Data, *, chunk_size: int | None = None
) -> Float[Array, " P"]:
    """Mean loss of every individual over all examples."""
    examples = example_count(data)
    batches = score_batches(examples)
    total = score(loss_fn, population, data, 0, batches, examples=examples, chunk_size=chunk_size)
    return total / examples


def batch_losses(
    loss_fn: LossFn,
    population: Params,
    batch: Any,
    shared: tuple[Any, ...] = (),
    *,
    gradient_fn: ValueAndGrad | None = None,
    chunk_size: int | None = None,
) -> tuple[Float[Array, " P"], PyTree[Int8[Array, "P ..."]]]:
    """Loss of every individual on one batch and, with `gradient_fn`, the signs of its gradient."""

    def evaluate(params, batch, *shared):
        if gradient_fn is None:
            return _of_finite(params, loss_fn(params, batch, *shared)), None
        loss, gradient = gradient_fn(params, batch, *shared)
        signs = jax.tree.map(lambda leaf: jnp.sign(leaf).astype(jnp.int8), gradient)
        return _of_finite(params, loss), signs

    return map_individuals(evaluate, population, batch, *shared, chunk_size=chunk_size)


def _map_until(
    stop: int | Int[Array, ""] | Int[Array, " P"],
    function: Callable[..., Any],
    individuals: Any,
    *common: Any,
    chunk_size: int | None,
) -> Any:
    """`function(individual, stop, *common)` of each, with one `stop` for all or one for each.

    One for all is not mapped: under vmap, a loop that may end at another moment for each individual
    selects between old and new values in every turn.
    """
    if jnp.ndim(stop) == 0:
        return map_individuals(function, individuals, stop, *common, chunk_size=chunk_size)

    def of_pair(pair: tuple[Any, Array], *common: Any) -> Any:
        return function(*pair, *common)

    return map_individuals(of_pair, (individuals, stop), *common, chunk_size=chunk_size)


def _usable(is_good: Bool[Array, ""], gradient: Array) -> Array:
    return jnp.where(is_good & ~jnp.isnan(gradient), gradient, 0)


def _of_finite(params: Params, loss: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(is_finite(params), loss, jnp.nan).astype(float)


def failures(loss: Float[Array, " P"]) -> Int[Array, ""]:
    """Number of losses that are not finite."""
    return jnp.sum(~jnp.isfinite(loss), dtype=jnp.int32)


def tied(loss_fn: Callable[..., Float[Array, ""]]) -> ValueAndGrad:
    """`value_and_grad(params, batch, *shared)` from `loss_fn(encoder, decoder, batch, *shared)`.

    For an autoencoder whose decoder uses the encoder's weights: both arguments get the same
    parameters, and the gradient is the sum of both parts, or zero where their signs disagree
    (Yang et al., IEEE TNNLS 33(9), on GEMONN).
    """
    both = jax.value_and_grad(loss_fn, argnums=(0, 1))

    def agreed(encoder: Array, decoder: Array) -> Array:
        disagree = jnp.sign(encoder) * jnp.sign(decoder) < 0
        return jnp.where(disagree, jnp.zeros_like(encoder), encoder + decoder)

    def value_and_grad(params: Params, *rest: Any) -> tuple[Float[Array, ""], Params]:
        loss, gradients = both(params, params, *rest)
        return loss, jax.tree.map(agreed, *gradients)

    return value_and_grad
