"""Losses of a whole population, in chunks that suit the device.

An individual with a gene that is not finite has a loss of NaN, even where its network hides it.
Losses are float32 whatever their function gives, or float64 where JAX has 64 bits enabled.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Int8, Key, PyTree

from gajax import bits, sharding
from gajax import context as contexts
from gajax import population as populations
from gajax.context import Loss, Measured, WithContext
from gajax.individual import is_finite
from gajax.population import map_individuals
from gajax.types import Data

SCORE_BATCH = 1_000
"""Examples that go through a loss at once where no gradient is wanted."""


def example_count(data: Data) -> int:
    """Number of examples N; ValueError where the leaves disagree about it or there are none.

    Example:
      >>> gajax.evaluation.example_count(gajax.Data({"x": np.zeros((7, 2)), "y": np.zeros(7)}, 0))
      7
    """
    return populations.size(data.examples)


def batch_order(
    data: Data,
    first: int | Int[Array, ""],
    count: int,
    *,
    batch_size: int,
    sequence: int | Int[Array, ""] = 0,
    sequences: int = 1,
) -> Int[Array, "T B"]:
    """The examples of `count` batches of an endless sequence, from the batch `first` on.

    Epoch after epoch, each in its own random order; within an epoch no example comes twice, and
    fewer than B of them, those that fill no batch, are left out. Of several sequences, each has
    orders of its own.

    Example:
      >>> data = gajax.Data(jnp.zeros(6), order_key=jax.random.key(0))
      >>> order = gajax.evaluation.batch_order(data, 0, 3, batch_size=2)
      >>> order.shape, sorted(order.reshape(-1).tolist())
      ((3, 2), [0, 1, 2, 3, 4, 5])
    """
    examples = example_count(data)
    epoch, index = jnp.divmod(first + jnp.arange(count), examples // batch_size)
    places = index[:, None] * batch_size + jnp.arange(batch_size)[None]
    return bits.permuted(data.order_key, epoch * sequences + sequence, places, examples)


def batch_at(examples: PyTree, order: Int[Array, "T B"], index: int | Int[Array, ""]) -> Any:
    """The examples of one batch; behind the last one, the first comes again.

    Example:
      >>> order = jnp.array([[2, 0], [1, 3]])
      >>> gajax.evaluation.batch_at(10 * jnp.arange(4), order, 1)
      Array([10, 30], dtype=int32)
    """
    return jax.tree.map(lambda leaf: leaf[order[index % len(order)]], examples)


def no_total(function: Loss | None, population: Any, data: Data, batch_size: int) -> Measured:
    """Zeros for the losses and metrics that a loss, or its gradient, has on such a batch.

    Example:
      >>> loss_fn = lambda params, batch: 0.0
      >>> gajax.evaluation.no_total(loss_fn, jnp.ones((3, 2)), gajax.Data(jnp.zeros(4), 0), 2)
      Measured(loss=Array([0., 0., 0.], dtype=float32), metrics={})
    """
    loss = jnp.zeros(populations.size(population))
    if not isinstance(function, WithContext):
        return Measured(loss, {})

    def one(population: Any, data: Data) -> Any:
        batch = jax.tree.map(lambda leaf: leaf[:batch_size], data.examples)
        setting = populations.take(population, 0), batch, data.shared, jax.random.key(0)
        result = contexts.call(function, *setting, is_training=True)
        return contexts.as_output(result[0] if type(result) is tuple else result)

    output = jax.eval_shape(one, population, data)
    return Measured(loss, {name: loss for name in output.metrics})


def zero(total: Measured) -> Measured:
    """Zeros in the place of sums, each device's individuals with it.

    Example:
      >>> total = gajax.context.Measured(jnp.ones(3), {})
      >>> gajax.evaluation.zero(total).loss
      Array([0., 0., 0.], dtype=float32)
    """
    return sharding.place(jax.tree.map(jnp.zeros_like, total))


def score_batches(examples: int) -> int:
    """Number of batches that `score` cuts so many examples into.

    Example:
      >>> gajax.evaluation.score_batches(2_500)
      3
    """
    return -(-examples // SCORE_BATCH)


def score(
    loss_fn: Loss | None,
    population: Any,
    data: Data,
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""] | Int[Array, " P"],
    *,
    examples: int,
    keys: Key[Array, " P"] | None = None,
    total: Measured | None = None,
    chunk_size: int | None = None,
) -> Measured:
    """Add to `total` (None: zero) every individual's share of its means over `examples`.

    The first so many examples are cut into batches of `SCORE_BATCH`, the last one smaller where
    they do not divide; `start` and `stop` count these batches. Each individual may have a `stop`
    and a key of its own.

    Example:
      >>> loss_fn = lambda params, batch: jnp.mean(batch * params)
      >>> data = gajax.Data(jnp.arange(4.0), 0)
      >>> gajax.evaluation.score(loss_fn, jnp.array([1.0, 2.0]), data, 0, 1, examples=2).loss
      Array([0.5, 1. ], dtype=float32)
    """
    whole, rest = divmod(examples, SCORE_BATCH)

    def add(arguments, stop, scored, shared, start):
        individual, total, key = arguments

        def add_batches(size, total, start, stop):
            def body(batch, total):
                first = batch * SCORE_BATCH
                rows = jax.tree.map(
                    lambda leaf: lax.dynamic_slice_in_dim(leaf, first, size), scored
                )
                setting = individual, rows, shared, contexts.batch_key(key, batch)
                output = contexts.as_output(contexts.call(loss_fn, *setting, is_training=False))
                return contexts.add(total, output, size / examples)

            return lax.fori_loop(start, stop, body, total)

        if whole:
            total = add_batches(SCORE_BATCH, total, start, jnp.minimum(stop, whole))
        if rest:  # the last batch, where it is asked for
            total = add_batches(rest, total, jnp.maximum(start, whole), stop)
        return of_finite(individual, total)

    if total is None:
        total = no_total(loss_fn, population, data, min(examples, SCORE_BATCH))
    common = data.examples, data.shared, start
    return map_until(stop, add, (population, total, keys), *common, chunk_size=chunk_size)


def losses(
    loss_fn: Loss | None,
    population: Any,
    data: Data,
    *,
    key: Key[Array, ""] | None = None,
    chunk_size: int | None = None,
) -> Float[Array, " P"]:
    """Mean loss of every individual over all examples; `key` is for a loss that takes one.

    Example:
      >>> loss_fn = lambda params, batch: jnp.mean((batch - params) ** 2)
      >>> gajax.evaluation.losses(loss_fn, jnp.array([0.0, 1.0]), gajax.Data(jnp.ones(4), 0))
      Array([1., 0.], dtype=float32)
    """
    return measure(loss_fn, population, data, key=key, chunk_size=chunk_size).loss


def measure(
    loss_fn: Loss | None,
    population: Any,
    data: Data,
    *,
    key: Key[Array, ""] | None = None,
    chunk_size: int | None = None,
) -> Measured:
    """Mean loss and metrics of every individual over all examples.

    Example:
      >>> loss_fn = lambda params, batch: jnp.mean((batch - params) ** 2)
      >>> population, data = jnp.array([0.0, 1.0]), gajax.Data(jnp.ones(4), order_key=0)
      >>> gajax.evaluation.measure(loss_fn, population, data).loss
      Array([1., 0.], dtype=float32)
    """
    examples = example_count(data)
    options = {"examples": examples, "chunk_size": chunk_size}
    if key is not None:
        options["keys"] = contexts.keys_of(loss_fn, key, populations.size(population))
    return score(loss_fn, population, data, 0, score_batches(examples), **options)


def batch_losses(
    loss_fn: Loss | None,
    population: Any,
    batch: Any,
    shared: tuple[Any, ...] = (),
    *,
    gradient_fn: Loss | None = None,
    keys: Key[Array, " P"] | None = None,
    chunk_size: int | None = None,
) -> tuple[Measured, PyTree[Int8[Array, "P ..."]]]:
    """Loss of every individual on one batch and, with `gradient_fn`, the signs of its gradient.

    Example:
      >>> loss_fn = lambda params, batch: jnp.mean((batch - params) ** 2)
      >>> gradient_fn, population = jax.value_and_grad(loss_fn), jnp.array([0.0, 2.0])
      >>> evaluate = gajax.evaluation.batch_losses
      >>> measured, signs = evaluate(loss_fn, population, jnp.ones(4), gradient_fn=gradient_fn)
      >>> measured.loss, signs
      (Array([1., 1.], dtype=float32), Array([-1,  1], dtype=int8))
    """

    def evaluate(arguments, batch, *shared):
        individual, key = arguments
        setting, signs = (individual, batch, shared, key), None
        result = contexts.call(gradient_fn or loss_fn, *setting, is_training=False)
        if gradient_fn is not None:
            result, gradient = result
            signs = jax.tree.map(lambda leaf: jnp.sign(leaf).astype(jnp.int8), gradient)
        output = contexts.as_output(result)
        metrics = {name: jnp.asarray(value, float) for name, value in output.metrics.items()}
        return of_finite(individual, Measured(output.loss, metrics)), signs

    return map_individuals(evaluate, (population, keys), batch, *shared, chunk_size=chunk_size)


def map_until(
    stop: int | Int[Array, ""] | Int[Array, " P"],
    function: Callable[..., Any],
    individuals: Any,
    *common: Any,
    chunk_size: int | None,
) -> Any:
    """`function(individual, stop, *common)` of each, with one `stop` for all or one for each.

    One for all is not mapped: under vmap, a loop that may end at another moment for each individual
    selects between old and new values in every turn.

    Example:
      >>> add = lambda start, stop: start + stop
      >>> stops = jnp.array([1, 2, 3])
      >>> gajax.evaluation.map_until(stops, add, jnp.zeros(3), chunk_size=None)
      Array([1., 2., 3.], dtype=float32)
    """
    if jnp.ndim(stop) == 0:
        return map_individuals(function, individuals, stop, *common, chunk_size=chunk_size)

    def of_pair(pair: tuple[Any, Array], *common: Any) -> Any:
        return function(*pair, *common)

    return map_individuals(of_pair, (individuals, stop), *common, chunk_size=chunk_size)


def of_finite(individual: Any, total: Measured) -> Measured:
    """With a loss of NaN where a gene of the individual is not finite.

    Example:
      >>> total = gajax.context.Measured(jnp.float32(1), {})
      >>> float(gajax.evaluation.of_finite(jnp.array([1.0, jnp.inf]), total).loss)
      nan
    """
    loss = jnp.where(is_finite(individual), total.loss, jnp.nan).astype(float)
    return total._replace(loss=loss)


def failures(loss: Float[Array, " P"]) -> Int[Array, ""]:
    """Number of losses that are not finite.

    Example:
      >>> int(gajax.evaluation.failures(jnp.array([1.0, jnp.nan, jnp.inf])))
      2
    """
    return jnp.sum(~jnp.isfinite(loss), dtype=jnp.int32)
