"""Independent gradient descent of every individual, behind the same interface as evolution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from gajax import evaluation, sharding
from gajax import population as populations
from gajax.types import Algorithm, Data, Info, LossFn, Params, ValueAndGrad


class GradientState(NamedTuple):
    """What persists between steps."""

    params: Params  # [P, ...]
    optimizer_state: Any  # [P, ...]
    loss: Float[Array, " P"]  # mean over the batches of the last whole generation
    total: Float[Array, " P"]  # losses of this generation's batches so far
    order: Int[Array, "T B"]  # the batches of this generation
    generation: Int[Array, ""]
    slot: Int[Array, ""]  # steps done in this generation


def gradient(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    epochs: int = 1,
    value_and_grad: ValueAndGrad | None = None,
    chunk_size: int | None = None,
    examples_per_step: int | None = None,
) -> Algorithm:
    """Make the algorithm: P runs of one optimiser that see the same batches as `ga` does.

    A generation is `epochs` passes over the data; the first is generation 1, as there is no
    initial scoring. The loss it reports is the mean over its batches, each taken before its step.
    A step takes at most about `examples_per_step` individuals x examples through a gradient.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)

    def plan(data: Data, size: int) -> evaluation.Parts:
        examples = evaluation.example_count(data)
        if not 0 < batch_size <= examples:
            raise ValueError(f"batch_size must be from 1 to {examples}, not {batch_size}")
        work = examples_per_step or evaluation.default_examples_per_step()
        batches = epochs * (examples // batch_size)
        return evaluation.Parts(batches, max(1, work // (size * batch_size)))

    def init(key: Key[Array, ""], population: Params, data: Data) -> GradientState:
        del key
        size = populations.size(population)
        return GradientState(
            params=population,
            optimizer_state=evaluation.map_individuals(optimizer.init, population),
            loss=jnp.full(size, jnp.inf, jnp.float32),
            total=sharding.place(jnp.zeros(size)),
            order=jnp.zeros((plan(data, size).total, batch_size), jnp.int32),
            generation=jnp.int32(1),
            slot=jnp.int32(0),
        )

    def step(key: Key[Array, ""], state: GradientState, data: Data) -> tuple[GradientState, Info]:
        del key
        size = populations.size(state.params)
        training = plan(data, size)
        start, stop = training.bounds(state.slot)
        done = state.slot == training.count - 1
        order = lax.cond(
            state.slot == 0,
            lambda: evaluation.batch_order(
                data, state.generation - 1, batch_size=batch_size, epochs=epochs
            ),
            lambda: state.order,
        )
        params, optimizer_state, total = evaluation.gradient_steps(
            value_and_grad,
            optimizer,
            state.params,
            state.optimizer_state,
            data,
            order,
            start,
            stop,
            total=state.total,
            chunk_size=chunk_size,
        )
        loss = jnp.where(done, sharding.replicate(total) / training.total, state.loss)
        info = Info(
            generation=state.generation,
            fraction=(state.slot + 1) / training.count,
            done=done,
            loss=loss,
            failed=jnp.where(done, jnp.sum(~jnp.isfinite(loss)), 0),
            gradient_examples=(stop - start) * size * batch_size,
            forward_examples=jnp.int32(0),
            sequential_steps=stop - start,
        )
        state = GradientState(
            params=params,
            optimizer_state=optimizer_state,
            loss=loss,
            total=sharding.place(jnp.where(done, 0.0, total)),
            order=order,
            generation=jnp.where(done, state.generation + 1, state.generation),
            slot=(state.slot + 1) % training.count,
        )
        return state, info

    return Algorithm(init, step)
