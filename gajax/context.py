"""Losses that need more than genes and a batch: a key, a state, hyper-parameters, metrics."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from gajax.individual import Individual, genes_of


class Context(NamedTuple):
    """What a loss wrapped by `with_context` is given beside the parameters and the batch.

    Attributes:
      key: one for each individual and batch, the same for any chunk size and number of devices.
      state: `Individual.state`.
      hyper: `Individual.hyper`.
      is_training: True for gradient steps, False where individuals are scored; a Python bool.

    Example:
      >>> hyper = {"rate": 0.1}
      >>> context = gajax.Context(jax.random.key(0), state=(), hyper=hyper, is_training=True)
      >>> context.hyper["rate"]
      0.1
    """

    key: Key[Array, ""] | None
    state: PyTree
    hyper: PyTree
    is_training: bool


class Output(NamedTuple):
    """What a loss wrapped by `with_context` may return in place of a number.

    Attributes:
      loss: the mean loss on the batch, minimised.
      state: the new `Individual.state`, kept after gradient steps; None to keep the old one.
      metrics: further scalars by name, averaged over the same batches as the loss.

    Example:
      >>> gajax.Output(loss=jnp.float32(0.5), metrics={"accuracy": jnp.float32(0.9)}).state is None
      True
    """

    loss: Float[Array, ""]
    state: PyTree = None
    metrics: dict[str, Array] = {}


class Measured(NamedTuple):
    """Losses and metrics of individuals, or sums of them over batches.

    Example:
      >>> measured = gajax.context.Measured(jnp.zeros(3), {"accuracy": jnp.zeros(3)})
      >>> measured.loss.shape
      (3,)
    """

    loss: Float[Array, " P"]
    metrics: dict[str, Float[Array, " P"]]


class WithContext(NamedTuple):
    """A loss, or the `value_and_grad` of one, that takes a `Context`.

    Example:
      >>> loss_fn = gajax.with_context(lambda params, batch, context: 0.0)
      >>> isinstance(loss_fn, gajax.context.WithContext)
      True
    """

    function: Callable[..., Any]


Loss = Callable[..., Any] | WithContext
"""A `types.LossFn`, or one that takes a context; or likewise the `value_and_grad` of one."""


def with_context(loss_fn: Callable[..., Output | Float[Array, ""]]) -> WithContext:
    """Let every algorithm call `loss_fn(params, batch, context, *shared)`.

    It returns the loss or an `Output`. Use it for dropout (`context.key`), batch statistics
    (`context.state`), hyper-parameters that are no matter of the optimiser (`context.hyper`) and
    further metrics. State and hyper-parameters are those of a population of `gajax.Individual`. A
    `value_and_grad` for such a loss is wrapped too, and returns an `Output` and the gradient.

    Example:
      >>> @gajax.with_context
      ... def loss_fn(params, batch, context):
      ...     inputs = batch
      ...     if context.is_training:  # dropout
      ...         inputs = batch * jax.random.bernoulli(context.key, 0.9, batch.shape) / 0.9
      ...     error = inputs @ params - 1
      ...     return gajax.Output(jnp.mean(error**2), metrics={"largest": jnp.abs(error).max()})
      >>> population = jnp.zeros((2, 4))
      >>> data, key = gajax.Data(jnp.eye(4), order_key=0), jax.random.key(0)
      >>> measured = gajax.evaluation.measure(loss_fn, population, data, key=key)
      >>> measured.loss, measured.metrics["largest"]
      (Array([1., 1.], dtype=float32), Array([1., 1.], dtype=float32))
    """
    return WithContext(loss_fn)


def value_and_grad(loss_fn: Loss | None) -> Loss | None:
    """As `jax.value_and_grad`, for losses of both kinds.

    Example:
      >>> gradient_fn = gajax.context.value_and_grad(lambda params, batch: jnp.sum(params * batch))
      >>> gradient_fn(jnp.ones(2), jnp.array([1.0, 2.0]))[1].tolist()
      [1.0, 2.0]
    """
    if not isinstance(loss_fn, WithContext):
        return jax.value_and_grad(loss_fn) if loss_fn else None

    def with_output(*arguments: Any) -> tuple[Any, Output]:
        output = as_output(loss_fn.function(*arguments))
        return output.loss, output

    def function(*arguments: Any) -> tuple[Output, Any]:
        (_, output), gradient = jax.value_and_grad(with_output, has_aux=True)(*arguments)
        return output, gradient

    return WithContext(function)


def call(
    function: Loss | None,
    individual: Any,
    batch: Any,
    shared: tuple[Any, ...],
    key: Key[Array, ""] | None,
    *,
    is_training: bool,
) -> Any:
    """What a loss, or the `value_and_grad` of one, gives for an individual.

    Example:
      >>> loss_fn = gajax.with_context(lambda params, batch, context: params.sum())
      >>> setting = jnp.ones(3), None, (), jax.random.key(0)
      >>> float(gajax.context.call(loss_fn, *setting, is_training=True))
      3.0
    """
    params = genes_of(individual)
    if not isinstance(function, WithContext):
        return _required(function)(params, batch, *shared)
    has_more = isinstance(individual, Individual)
    extra = (individual.state, individual.hyper) if has_more else ((), ())
    return function.function(params, batch, Context(key, *extra, is_training), *shared)


def as_output(result: Any) -> Output:
    """An `Output` of what a loss returns.

    Example:
      >>> gajax.context.as_output(0.5)
      Output(loss=0.5, state=None, metrics={})
    """
    return result if isinstance(result, Output) else Output(result)


def keys_of(function: Loss | None, key: Key[Array, ""], count: int) -> Key[Array, " P"] | None:
    """A key for each individual where the loss takes one.

    Example:
      >>> loss_fn = gajax.with_context(lambda params, batch, context: 0.0)
      >>> gajax.context.keys_of(loss_fn, jax.random.key(0), 5).shape
      (5,)
      >>> gajax.context.keys_of(lambda params, batch: 0.0, jax.random.key(0), 5) is None
      True
    """
    return jax.random.split(key, count) if isinstance(function, WithContext) else None


def batch_key(key: Key[Array, ""] | None, batch: Any) -> Key[Array, ""] | None:
    """The key of a batch, from that of an individual.

    Example:
      >>> gajax.context.batch_key(None, 3) is None
      True
      >>> gajax.context.batch_key(jax.random.key(0), 3).shape
      ()
    """
    return None if key is None else jax.random.fold_in(key, batch)


def add(total: Measured, output: Output, weight: int | float = 1) -> Measured:
    """Sums over batches of one individual, with those of a batch.

    Example:
      >>> total = gajax.context.Measured(jnp.float32(1), {})
      >>> float(gajax.context.add(total, gajax.Output(jnp.float32(2)), weight=0.5).loss)
      2.0
    """
    new = Measured(output.loss, output.metrics)
    return jax.tree.map(
        lambda old, value: old + weight * jnp.asarray(value).astype(old.dtype), total, new
    )


def _required(function: Callable[..., Any] | None) -> Callable[..., Any]:
    if function is None:
        raise ValueError("loss_fn must be given: only gajax.ask and gajax.tell go without one")
    return function
