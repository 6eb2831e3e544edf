"""Independent gradient descent of every individual, behind the same interface as evolution."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from gajax import evaluation, sharding, types
from gajax import population as populations
from gajax.types import Algorithm, Data, LossFn, Params, Plan, Stage, ValueAndGrad


class DescentState(NamedTuple):
    """The individuals keep the order that they were given in."""

    params: Params  # [P, ...]
    optimizer_state: Any  # [P, ...]
    loss: Float[Array, " P"]  # mean over the batches of the last whole generation
    total: Float[Array, " P"]  # sum of the losses of the batches of this generation
    failed: Int[Array, ""]


@types.cached
def descent(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    epochs: int = 1,
    batches: int | None = None,
    value_and_grad: ValueAndGrad | None = None,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm: P runs of one optimiser that see the same batches as `ga` does.

    A generation takes so many `batches` (None: those of `epochs` passes over the data); the first
    is generation 1, as there is no initial scoring. The loss it reports is the mean over its
    batches, each taken before its step.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)
    types.require_at_least(1, epochs=epochs, batches=batches, chunk_size=chunk_size)
    learn = partial(evaluation.gradient_steps, value_and_grad, optimizer, chunk_size=chunk_size)

    def init(key: Key[Array, ""], population: Params, data: Data) -> DescentState:
        size = populations.size(population)
        optimizer_state = evaluation.map_individuals(optimizer.init, population)
        loss, total = jnp.full(size, jnp.inf, float), sharding.place(jnp.zeros(size))
        return DescentState(population, optimizer_state, loss, total, failed=jnp.int32(0))

    @cache
    def stages(size: int, examples: int) -> Plan:
        types.require_batch_size(batch_size, examples)
        count = batches or epochs * (examples // batch_size)

        def train(key, state: DescentState, data: Data, generation, start, stop) -> DescentState:
            first = (generation - 1) * count
            order = evaluation.batch_order(data, first, count, batch_size=batch_size)
            individuals = state.params, state.optimizer_state
            trained = learn(*individuals, data, order, start, stop, total=state.total)
            params, optimizer_state, total = trained
            return state._replace(params=params, optimizer_state=optimizer_state, total=total)

        def average(key, state: DescentState, data: Data, generation, start, stop) -> DescentState:
            loss = sharding.replicate(state.total) / count
            total, failed = sharding.place(jnp.zeros(size)), evaluation.failures(loss)
            return state._replace(loss=loss, total=total, failed=failed)

        trained = count * size * batch_size
        plan = Stage(train, count, trained, sequential_steps=count), Stage(average)
        return lambda generation: plan if generation else ()

    return Algorithm(init, stages)
