"""Gradient steps of a whole population, each individual by itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from gajax import context as contexts
from gajax.context import Loss, Measured
from gajax.evaluation import batch_at, map_until, no_total, of_finite
from gajax.individual import genes_of, with_genes
from gajax.population import map_individuals
from gajax.types import Data, Optimizer, Params, ValueAndGrad


def gradient_steps(
    value_and_grad: Loss | None,
    optimizer: Optimizer,
    population: Any,
    optimizer_state: Any,
    data: Data,
    order: Int[Array, "*P T B"],
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""] | Int[Array, " P"],
    *,
    keys: Key[Array, " P"] | None = None,
    total: Measured | None = None,
    chunk_size: int | None = None,
) -> tuple[Any, Any, Measured]:
    """Train every individual by itself on the batches `start` to `stop` of `order`.

    Each individual may have an order, a `stop` and a key of its own. Returns the population, its
    optimiser states and `total` (None: zero) with the losses and metrics of the batches added. A
    batch whose loss is not finite is skipped, and so is a gene whose gradient is NaN. A chunk of
    individuals takes all its steps before the next chunk starts, so that its weights and moments
    stay in the cache. Optimisers that take `value`, `grad` or `value_fn`, such as `optax.lbfgs`,
    get them.
    """

    own, common_order = (order, None) if order.ndim > 2 else (None, order)

    def train(arguments, stop, examples, shared, common_order, start):
        individual, optimizer_state, total, key, own = arguments
        order = common_order if own is None else own

        def body(batch, carry):
            individual, optimizer_state, total = carry
            rows = batch_at(examples, order, batch)
            setting = individual, optimizer_state, rows, shared, contexts.batch_key(key, batch)
            output, updates, optimizer_state = propose(value_and_grad, optimizer, *setting)
            is_good, params = jnp.isfinite(output.loss), genes_of(individual)
            trained = with_genes(individual, optax.apply_updates(params, updates))
            if output.state is not None:
                new_state = jax.tree.map(
                    lambda new, old: jnp.where(is_good, new, old).astype(old.dtype),
                    output.state,
                    individual.state,
                )
                trained = trained._replace(state=new_state)
            return trained, optimizer_state, contexts.add(total, output)

        carry = individual, optimizer_state, total
        individual, optimizer_state, total = lax.fori_loop(start, stop, body, carry)
        return individual, optimizer_state, of_finite(individual, total)

    if total is None:
        total = no_total(value_and_grad, population, data, order.shape[-1])
    individuals = population, optimizer_state, total, keys, own
    common = data.examples, data.shared, common_order, start
    return map_until(stop, train, individuals, *common, chunk_size=chunk_size)


def propose(
    value_and_grad: Loss | None,
    optimizer: Optimizer,
    individual: Any,
    optimizer_state: Any,
    batch: Any,
    shared: Any,
    key: Key[Array, ""] | None,
) -> tuple[contexts.Output, Params, Any]:
    """The output of one individual on a batch, the updates of its genes, and its optimiser state.

    The optimiser sees zeros in place of a gradient whose loss is not finite, and of NaN.
    """
    params = genes_of(individual)

    def differentiate(params: Params) -> Any:
        setting = with_genes(individual, params), batch, shared, key
        return contexts.call(value_and_grad, *setting, is_training=True)

    result, gradient = differentiate(params)
    output = contexts.as_output(result)
    gradient = jax.tree.map(partial(_usable, jnp.isfinite(output.loss)), gradient)
    extra = {"value": output.loss, "grad": gradient}
    extra["value_fn"] = lambda params: contexts.as_output(differentiate(params)[0]).loss
    update = optax.with_extra_args_support(_optimizer_of(optimizer, individual)).update
    updates, optimizer_state = update(gradient, optimizer_state, params, **extra)
    return output, updates, optimizer_state


def init_optimizer(optimizer: Optimizer, population: Any) -> Any:
    """The optimiser state of every individual before its first step."""

    def init(individual: Any) -> Any:
        return _optimizer_of(optimizer, individual).init(genes_of(individual))

    return map_individuals(init, population)


def _optimizer_of(optimizer: Optimizer, individual: Any) -> optax.GradientTransformation:
    """The optimiser, made from the individual's hyper-parameters where it depends on them."""
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    return optimizer(individual.hyper)


def _usable(is_good: Bool[Array, ""], gradient: Array) -> Array:
    return jnp.where(is_good & ~jnp.isnan(gradient), gradient, 0)


def tied(loss_fn: Callable[..., Float[Array, ""]]) -> ValueAndGrad:
    """`value_and_grad(params, batch, *shared)` from `loss_fn(encoder, decoder, batch, *shared)`.

    For an autoencoder whose decoder uses the encoder's weights: both arguments get the same
    parameters, and the gradient is the sum of both parts, or zero where their signs disagree
    (Yang et al., IEEE TNNLS 33(9), on GEMONN).

    Example:
      >>> def loss_fn(encoder, decoder, batch):
      ...     return jnp.mean((jnp.tanh(batch @ encoder) @ decoder.T - batch) ** 2)
      >>> loss, gradient = gajax.tied(loss_fn)(jnp.ones((4, 2)), jnp.eye(4))
      >>> gradient.shape
      (4, 2)
    """
    both = jax.value_and_grad(loss_fn, argnums=(0, 1))

    def agreed(encoder: Array, decoder: Array) -> Array:
        disagree = jnp.sign(encoder) * jnp.sign(decoder) < 0
        return jnp.where(disagree, jnp.zeros_like(encoder), encoder + decoder)

    def value_and_grad(params: Params, *rest: Any) -> tuple[Float[Array, ""], Params]:
        loss, gradients = both(params, params, *rest)
        return loss, jax.tree.map(agreed, *gradients)

    return value_and_grad
