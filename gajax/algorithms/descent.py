"""Independent gradient descent of every individual, behind the same interface as evolution."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from gajax import context as contexts
from gajax import evaluation, gradients, sharding, types
from gajax import population as populations
from gajax.checks import check_training
from gajax.context import Loss, Measured
from gajax.types import Algorithm, Data, Optimizer, Plan, Stage


class DescentState(NamedTuple):
    """The individuals keep the order that they were given in.

    Attributes:
      params: the individuals, [P, ...].
      optimizer_state: that of each, [P, ...].
      loss: mean over the batches of the last whole generation, [P].
      metrics: likewise, a dict of [P].
      total: sums over the batches of this generation.
      failed: individuals whose loss or genes are not finite, [].

    Example:
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=0)
      >>> loss_fn = lambda params, batch: (batch @ params).mean()
      >>> algorithm = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=4)
      >>> state = gajax.state_shapes(algorithm, 0, jnp.ones((5, 2)), data)
      >>> state.params.shape, state.loss.shape, state.failed.shape
      ((5, 2), (5,), ())
    """

    params: Any
    optimizer_state: Any
    loss: Float[Array, " P"]
    metrics: dict[str, Float[Array, " P"]]
    total: Measured
    failed: Int[Array, ""]


@types.cached
def descent(
    loss_fn: Loss,
    *,
    optimizer: Optimizer,
    batch_size: int,
    epochs: int = 1,
    batches: int | None = None,
    value_and_grad: Loss | None = None,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm: P runs of one optimiser that see the same batches as `ga` does.

    A generation takes so many `batches` (None: those of `epochs` passes over the data); the first
    is generation 1, as there is no initial scoring. The loss it reports is the mean over its
    batches, each taken before its step.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params - 1) ** 2)
      >>> data = gajax.Data(jax.random.normal(jax.random.key(0), (64, 4)), order_key=0)
      >>> population = gajax.init(1, lambda key: jax.random.normal(key, (4,)), size=8)
      >>> algorithm = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=16)
      >>> for state, info in gajax.evolve(algorithm, 2, population, data, generations=2):
      ...     print(info.generation, info.loss.shape, info.gradient_examples)
      1 (8,) 512
      2 (8,) 512
    """
    value_and_grad = value_and_grad or contexts.value_and_grad(loss_fn)
    types.require_at_least(1, epochs=epochs, batches=batches, chunk_size=chunk_size)
    learn = partial(gradients.gradient_steps, value_and_grad, optimizer, chunk_size=chunk_size)

    def init(key: Key[Array, ""], population: Any, data: Data) -> DescentState:
        total = evaluation.no_total(loss_fn, population, data, batch_size)
        return DescentState(
            params=population,
            optimizer_state=gradients.init_optimizer(optimizer, population),
            loss=jnp.full(populations.size(population), jnp.inf, float),
            metrics=total.metrics,
            total=evaluation.zero(total),
            failed=jnp.int32(0),
        )

    @cache
    def stages(size: int, examples: int) -> Plan:
        types.require_batch_size(batch_size, examples)
        count = batches or epochs * (examples // batch_size)

        def train(key, state: DescentState, data: Data, generation, start, stop) -> DescentState:
            first = (generation - 1) * count
            order = evaluation.batch_order(data, first, count, batch_size=batch_size)
            keys = contexts.keys_of(loss_fn, key, size)
            individuals = state.params, state.optimizer_state
            trained = learn(*individuals, data, order, start, stop, keys=keys, total=state.total)
            params, optimizer_state, total = trained
            return state._replace(params=params, optimizer_state=optimizer_state, total=total)

        def average(key, state: DescentState, data: Data, generation, start, stop) -> DescentState:
            mean = jax.tree.map(lambda total: total / count, sharding.replicate(state.total))
            total = evaluation.zero(state.total)
            failed = evaluation.failures(mean.loss)
            return state._replace(**mean._asdict(), total=total, failed=failed)

        trained = count * size * batch_size
        plan = Stage(train, count, trained, sequential_steps=count), Stage(average)
        return lambda generation: plan if generation else ()

    def check(population: Any, data: Data) -> None:
        check_training(loss_fn, value_and_grad, optimizer, population, data, batch_size)

    return Algorithm(init, stages, check)
