"""A genetic algorithm whose survivors learn by gradient descent.

Source: David & Greental, "Genetic Algorithms for Evolving Deep Neural Networks", arXiv 1711.07655.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from gajax import crossover as crossovers
from gajax import evaluation
from gajax import mutation as mutations
from gajax import population as populations
from gajax import selection as selections
from gajax.types import Algorithm, Data, Info, LossFn, Params, ValueAndGrad

ZERO_ONE_PERCENT = partial(mutations.zero, rate=0.01)
"""The mutation of the published method."""


class GAState(NamedTuple):
    """What persists between steps; the survivors stand first, the best of them at index 0."""

    params: Params  # [P, ...]
    optimizer_state: Any  # [P, ...]
    loss: Float[Array, " P"]  # at the end of the last whole generation
    total: Float[Array, " P"]  # losses summed so far in this generation
    order: Int[Array, "T B"]  # the batches of this generation
    generation: Int[Array, ""]
    slot: Int[Array, ""]  # steps done in this generation


def ga(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    survivors: int,
    batch_size: int,
    epochs: int = 1,
    crossover: Callable[..., tuple[Params, Params]] = crossovers.uniform,
    mutation: Callable[..., Params] = ZERO_ONE_PERCENT,
    selection: Callable[..., Int[Array, " S"]] = selections.truncation,
    fresh_optimizer: bool = False,
    score_examples: int | None = None,
    value_and_grad: ValueAndGrad | None = None,
    chunk_size: int | None = None,
    examples_per_step: int | None = None,
) -> Algorithm:
    """Make the algorithm; its population has more than `survivors` individuals.

    Generation 0 scores the initial population. Each later one trains the survivors for `epochs`
    passes over the data, fills the other places with their children (two different parents drawn
    uniformly, crossover, then mutation), and scores everybody on the first `score_examples`
    examples (None: all). `selection` says who survives.

    A child inherits its mother's optimiser state, so that moments and schedules go on; with
    `fresh_optimizer` everybody starts each generation with a new one, as in the original.

    A step is a part of a generation, so that the host can look in between: at most about
    `examples_per_step` individuals x examples through a gradient, or three times as many scored.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)

    def plan(data: Data, size: int) -> tuple[int, evaluation.Parts, evaluation.Parts]:
        examples = evaluation.example_count(data)
        if not 0 < survivors < size:
            raise ValueError(f"survivors must be from 1 to {size - 1}, not {survivors}")
        if not 0 < batch_size <= examples:
            raise ValueError(f"batch_size must be from 1 to {examples}, not {batch_size}")
        scored = examples if score_examples is None else min(score_examples, examples)
        if scored < 1:
            raise ValueError(f"score_examples must be 1 or more, not {scored}")
        batches = epochs * (examples // batch_size)
        work = examples_per_step or evaluation.default_examples_per_step()
        training = evaluation.Parts(batches, max(1, work // (survivors * batch_size)))
        score_batches = -(-scored // evaluation.SCORE_BATCH)
        scoring = evaluation.Parts(
            score_batches, max(1, 3 * work // (size * evaluation.SCORE_BATCH))
        )
        return scored, training, scoring

    def init(key: Key[Array, ""], population: Params, data: Data) -> GAState:
        del key
        size = populations.size(population)
        _, training, _ = plan(data, size)
        return GAState(
            params=population,
            optimizer_state=jax.vmap(optimizer.init)(population),
            loss=jnp.full(size, jnp.inf, jnp.float32),
            total=jnp.zeros(size),
            order=jnp.zeros((training.total, batch_size), jnp.int32),
            generation=jnp.int32(0),
            slot=jnp.int32(training.count),
        )

    def step(key: Key[Array, ""], state: GAState, data: Data) -> tuple[GAState, Info]:
        size = populations.size(state.params)
        scored, training, scoring = plan(data, size)
        key_select, key_refill = jax.random.split(jax.random.fold_in(key, state.generation))
        slots = training.count + scoring.count
        is_training = state.slot < training.count
        done = state.slot == slots - 1

        def train(state: GAState) -> GAState:
            order = lax.cond(
                state.slot == 0,
                lambda: evaluation.batch_order(
                    data, state.generation - 1, batch_size=batch_size, epochs=epochs
                ),
                lambda: state.order,
            )
            learning, others = slice(survivors), slice(survivors, None)
            individuals = (state.params, state.optimizer_state)
            params, optimizer_state = populations.take(individuals, learning)
            params, optimizer_state, _ = evaluation.gradient_steps(
                value_and_grad,
                optimizer,
                params,
                optimizer_state,
                data,
                order,
                *training.bounds(state.slot),
                chunk_size=chunk_size,
            )
            params, optimizer_state = populations.concatenate(
                (params, optimizer_state), populations.take(individuals, others)
            )
            state = state._replace(params=params, optimizer_state=optimizer_state, order=order)
            return lax.cond(state.slot == training.count - 1, refill, lambda state: state, state)

        def refill(state: GAState) -> GAState:
            key_mate, key_cross, key_mutate = jax.random.split(key_refill, 3)
            children = size - survivors
            mothers, fathers = _couples(key_mate, survivors, -(-children // 2))
            born = jax.vmap(crossover)(
                jax.random.split(key_cross, mothers.size),
                populations.take(state.params, mothers),
                populations.take(state.params, fathers),
            )
            born = populations.take(populations.concatenate(*born), slice(children))
            born = jax.vmap(mutation)(jax.random.split(key_mutate, children), born)
            kept = populations.take(state.params, slice(survivors))
            params = populations.concatenate(kept, born)
            if fresh_optimizer:
                optimizer_state = jax.vmap(optimizer.init)(params)
            else:
                owners = jnp.concatenate([jnp.arange(survivors), mothers, fathers])[:size]
                optimizer_state = populations.take(state.optimizer_state, owners)
            return state._replace(params=params, optimizer_state=optimizer_state)

        def score(state: GAState) -> GAState:
            total = evaluation.score(
                loss_fn,
                state.params,
                data,
                *scoring.bounds(state.slot - training.count),
                examples=scored,
                total=state.total,
                chunk_size=chunk_size,
            )
            return lax.cond(done, rank, lambda state: state, state._replace(total=total))

        def rank(state: GAState) -> GAState:
            loss = state.total / scored
            dropped = jnp.ones(size, bool).at[selection(key_select, loss, survivors)].set(False)
            order = jnp.lexsort((loss, dropped, ~jnp.isfinite(loss)))
            params, optimizer_state, loss = populations.take(
                (state.params, state.optimizer_state, loss), order
            )
            return state._replace(
                params=params, optimizer_state=optimizer_state, loss=loss, total=jnp.zeros(size)
            )

        new = lax.cond(is_training, train, score, state)
        start, stop = training.bounds(state.slot)
        batches = jnp.where(is_training, stop - start, 0)
        first, last = scoring.bounds(state.slot - training.count)
        forward = (
            jnp.minimum(last * evaluation.SCORE_BATCH, scored) - first * evaluation.SCORE_BATCH
        )
        info = Info(
            generation=state.generation,
            fraction=(state.slot + 1) / slots,
            done=done,
            loss=new.loss,
            gradient_examples=batches * survivors * batch_size,
            forward_examples=jnp.where(is_training, 0, forward * size),
            sequential_steps=jnp.where(done, 1, batches),
        )
        generation = jnp.where(done, state.generation + 1, state.generation)
        return new._replace(generation=generation, slot=(state.slot + 1) % slots), info

    return Algorithm(init, step)


def _couples(
    key: Key[Array, ""], survivors: int, pairs: int
) -> tuple[Int[Array, " K"], Int[Array, " K"]]:
    """Parents drawn uniformly, a father who is not the mother where there are two survivors."""
    key_mother, key_step = jax.random.split(key)
    mothers = jax.random.randint(key_mother, (pairs,), 0, survivors)
    steps = jax.random.randint(key_step, (pairs,), 1, max(2, survivors))
    return mothers, (mothers + steps) % survivors
