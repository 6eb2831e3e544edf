"""Losses and gradient steps of a whole population, in chunks that suit the device.

An individual with a gene that is not finite has a loss of NaN, even where its network hides it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8, PyTree

from gajax import population as populations
from gajax.population import map_individuals
from gajax.types import Data, LossFn, Params, ValueAndGrad

SCORE_BATCH = 1_000
"""Examples that go through a loss at once where no gradient is wanted."""


def default_examples_per_step() -> int:
    """Individuals x examples through a gradient in one step: about half a second of work."""
    return 10_000 if jax.default_backend() == "cpu" else 200_000


def example_count(data: Data) -> int:
    """Number of examples N; ValueError where the leaves disagree about it or there are none."""
    return populations.size(data.examples)


class Parts(NamedTuple):
    """A loop of `total` turns, cut into parts of at most `size`."""

    total: int
    size: int

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-self.total // self.size)

    def bounds(self, part: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """First turn of a part, and the one behind its last."""
        return part * self.size, jnp.minimum((part + 1) * self.size, self.total)


def batch_order(
    data: Data, generation: int | Int[Array, ""], *, batch_size: int, epochs: int = 1
) -> Int[Array, "T B"]:
    """The batches of one generation: in each of its epochs every example once, in random order.

    Fewer than B examples an epoch, those which fill no batch, sit out.
    """
    examples = example_count(data)
    batches = examples // batch_size

    def epoch_order(epoch):
        order = jax.random.permutation(jax.random.fold_in(data.order_key, epoch), examples)
        return order[: batches * batch_size].reshape(batches, batch_size)

    orders = jax.vmap(epoch_order)(generation * epochs + jnp.arange(epochs))
    return orders.reshape(epochs * batches, batch_size)


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
    start: int | Int[Array, ""] | Int[Array, " P"],
    stop: int | Int[Array, ""] | Int[Array, " P"],
    *,
    total: Float[Array, " P"] | None = None,
    chunk_size: int | None = None,
) -> tuple[Params, Any, Float[Array, " P"]]:
    """Train every individual by itself on the batches `start` to `stop` of `order`.

    Each may have a stretch of its own. Returns the population, its optimiser states and `total`
    (None: zero) with the losses of the batches added. A batch whose loss is not finite, or whose
    gradient is NaN at a gene, teaches nothing there. A chunk of individuals takes all its steps
    before the next chunk starts, so that its weights and moments stay in the cache.
    """

    def train(individual, examples, shared, order, start, stop):
        def body(batch, carry):
            params, state, total = carry
            loss, gradient = value_and_grad(params, batch_at(examples, order, batch), *shared)
            gradient = jax.tree.map(partial(_taught, jnp.isfinite(loss)), gradient)
            updates, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, total + loss

        params, state, total = lax.fori_loop(start, stop, body, individual)
        return params, state, _of_finite(params, total)

    size = populations.size(population)
    total = jnp.zeros(size) if total is None else total
    individuals = population, optimizer_state, total
    common = data.examples, data.shared, order
    if jnp.ndim(start) == jnp.ndim(stop) == 0:
        # Bounds that are the same for all must not be mapped: a loop that ends at another moment
        # for each individual of a vmap selects between old and new values in every turn.
        return map_individuals(train, individuals, *common, start, stop, chunk_size=chunk_size)
    bounds = [jnp.broadcast_to(bound, (size,)) for bound in (start, stop)]
    return map_individuals(
        lambda one, *common: train(one[0], *common, *one[1:]),
        (individuals, *bounds),
        *common,
        chunk_size=chunk_size,
    )


def score(
    loss_fn: LossFn,
    population: Params,
    data: Data,
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""],
    *,
    examples: int,
    total: Float[Array, " P"] | None = None,
    chunk_size: int | None = None,
) -> Float[Array, " P"]:
    """Add to `total` (None: zero) every individual's losses on a part of the first `examples`.

    These are cut into batches of `SCORE_BATCH`, the last one smaller where they do not divide;
    `start` and `stop` count these batches, and each one's mean loss is weighted by its size.
    """

    def add(individual, scored, shared, start, stop):
        params, total = individual
        return score_one(
            loss_fn, params, scored, shared, start, stop, total=total, examples=examples
        )

    total = jnp.zeros(populations.size(population)) if total is None else total
    common = data.examples, data.shared, start, stop
    return map_individuals(add, (population, total), *common, chunk_size=chunk_size)


def score_one(
    loss_fn: LossFn,
    params: Params,
    scored: PyTree,
    shared: tuple[Any, ...],
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""],
    *,
    total: Float[Array, ""],
    examples: int,
) -> Float[Array, ""]:
    """What `score` does for one individual."""
    whole, rest = divmod(examples, SCORE_BATCH)

    def loss_at(first, size):
        batch = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, first, size), scored)
        return size * loss_fn(params, batch, *shared)

    def body(batch, total):
        return total + loss_at(batch * SCORE_BATCH, SCORE_BATCH)

    if whole:
        total = lax.fori_loop(start, jnp.minimum(stop, whole), body, total)
    if rest:
        total += lax.cond(
            stop > whole, lambda: loss_at(whole * SCORE_BATCH, rest), lambda: jnp.float32(0)
        )
    return _of_finite(params, total)


def losses(
    loss_fn: LossFn, population: Params, data: Data, *, chunk_size: int | None = None
) -> Float[Array, " P"]:
    """Mean loss of every individual over all examples."""
    examples = example_count(data)
    batches = -(-examples // SCORE_BATCH)
    total = score(loss_fn, population, data, 0, batches, examples=examples, chunk_size=chunk_size)
    return total / examples


def batch_losses(
    loss_fn: LossFn,
    population: Params,
    batch: Any,
    shared: tuple[Any, ...] = (),
    *,
    chunk_size: int | None = None,
) -> Float[Array, " P"]:
    """Loss of every individual on one batch."""

    def evaluate(params, batch, *shared):
        return _of_finite(params, loss_fn(params, batch, *shared))

    return map_individuals(evaluate, population, batch, *shared, chunk_size=chunk_size)


def batch_losses_and_signs(
    value_and_grad: ValueAndGrad,
    population: Params,
    batch: Any,
    shared: tuple[Any, ...] = (),
    *,
    chunk_size: int | None = None,
) -> tuple[Float[Array, " P"], PyTree[Int8[Array, "P ..."]]]:
    """Loss of every individual on one batch and the sign of its gradient at every gene."""

    def evaluate(params, batch, *shared):
        loss, gradient = value_and_grad(params, batch, *shared)
        return _of_finite(params, loss), jax.tree.map(
            lambda leaf: jnp.sign(leaf).astype(jnp.int8), gradient
        )

    return map_individuals(evaluate, population, batch, *shared, chunk_size=chunk_size)


def _taught(is_good: Bool[Array, ""], gradient: Array) -> Array:
    return jnp.where(is_good & ~jnp.isnan(gradient), gradient, 0)


def _of_finite(params: Params, loss: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(populations.is_finite(params), loss, jnp.nan)


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
