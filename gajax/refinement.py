"""Gradient steps of a finished population, in which every individual keeps its best moment.

Source: the final SSGD of Yang et al., IEEE TNNLS 33(9), on GEMONN.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from gajax import evaluation
from gajax import population as populations
from gajax.types import Algorithm, Data, Info, LossFn, Params, ValueAndGrad

_FEWEST = 20
_SPARSE = 0.05


class RefinementState(NamedTuple):
    """What persists between steps."""

    params: Params  # [P, ...], of the best moment of each individual so far
    loss: Float[Array, " P"]  # of these, on the examples that decide
    current: Params  # [P, ...], what learns
    optimizer_state: Any  # [P, ...]
    budget: Int[Array, " P"]  # gradient steps that each individual takes
    order: Int[Array, "T B"]
    slot: Int[Array, ""]  # steps done


def budgets(density: Float[Array, " P"], steps: int) -> Int[Array, " P"]:
    """Gradient steps of each individual: `steps` for the densest, in proportion for the others.

    Those of density below .05 get 20, as published, unless that is more than `steps`.
    """
    proportional = jnp.round(steps * density / jnp.max(density)).astype(jnp.int32)
    return jnp.where(density < _SPARSE, min(_FEWEST, steps), proportional)


def refinement(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    steps: int,
    value_and_grad: ValueAndGrad | None = None,
    score_examples: int = evaluation.SCORE_BATCH,
    checks: int = 20,
    chunk_size: int | None = None,
    examples_per_step: int | None = None,
) -> Algorithm:
    """Make the algorithm; wrap the optimiser by `sparse`, or zeros will not stay zero.

    In its only generation, 1, every individual takes its share of `steps` gradient steps
    (`budgets`). At first and then `checks` times, those that have moved are scored on the first
    `score_examples` examples, and each individual ends as what it was at its lowest loss there:
    as if refined ones and parents competed once more.

    A step is a part of it: on average about `examples_per_step` individuals x examples.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)

    def plan(data: Data, size: int) -> tuple[int, int, evaluation.Parts]:
        examples = evaluation.example_count(data)
        if not 0 < batch_size <= examples:
            raise ValueError(f"batch_size must be from 1 to {examples}, not {batch_size}")
        if steps < 1:
            raise ValueError(f"steps must be 1 or more, not {steps}")
        work = examples_per_step or evaluation.default_examples_per_step()
        # Three times the work, for most individuals have stopped most of the time.
        parts = evaluation.Parts(steps, max(1, 3 * work // (size * batch_size)))
        return min(score_examples, examples), max(1, steps // checks), parts

    def init(key: Key[Array, ""], population: Params, data: Data) -> RefinementState:
        del key
        size = populations.size(population)
        plan(data, size)
        epochs = -(-steps // (evaluation.example_count(data) // batch_size))
        return RefinementState(
            params=population,
            loss=jnp.full(size, jnp.inf, jnp.float32),
            current=population,
            optimizer_state=evaluation.map_individuals(optimizer.init, population),
            budget=budgets(populations.density(population), steps),
            order=evaluation.batch_order(data, 0, batch_size=batch_size, epochs=epochs),
            slot=jnp.int32(0),
        )

    def step(
        key: Key[Array, ""], state: RefinementState, data: Data
    ) -> tuple[RefinementState, Info]:
        del key
        size = populations.size(state.params)
        scored, interval, parts = plan(data, size)
        batches = -(-scored // evaluation.SCORE_BATCH)

        def score(moved: Array, individuals: tuple[Params, Array, Params]) -> Any:
            """Parameters and loss of the better of two moments, for those that have moved."""

            def better(individual: Any, examples: Any, shared: Any) -> Any:
                moved, (params, loss, current) = individual

                def compare() -> Any:
                    data, zero = (examples, shared), jnp.float32(0)
                    new = evaluation.score_one(
                        loss_fn, current, *data, 0, batches, total=zero, examples=scored
                    )
                    new = new / scored
                    wins = jnp.isfinite(new) & (new < loss)
                    return jax.tree.map(
                        lambda now, best: jnp.where(wins, now, best), (current, new), (params, loss)
                    )

                return lax.cond(moved, compare, lambda: (params, loss))

            return evaluation.map_individuals(
                better,
                (moved, individuals),
                data.examples,
                data.shared,
                chunk_size=chunk_size,
            )

        start, stop = parts.bounds(state.slot)
        done = state.slot == parts.count - 1
        is_first = state.slot == 0
        params, loss = lax.cond(
            is_first,
            lambda: score(jnp.ones(size, bool), (state.params, state.loss, state.current)),
            lambda: (state.params, state.loss),
        )
        own_stop = jnp.clip(state.budget, start, stop)
        current, optimizer_state, _ = evaluation.gradient_steps(
            value_and_grad,
            optimizer,
            state.current,
            state.optimizer_state,
            data,
            state.order,
            start,
            own_stop,
            chunk_size=chunk_size,
        )
        # Those that stopped before the last check were scored then.
        last_check = start // interval * interval
        moved = (state.budget > last_check) & ((stop // interval > start // interval) | done)
        params, loss = lax.cond(
            moved.any(), lambda: score(moved, (params, loss, current)), lambda: (params, loss)
        )
        learned = jnp.sum(jnp.maximum(own_stop - start, 0))
        info = Info(
            generation=jnp.int32(1),
            fraction=(state.slot + 1) / parts.count,
            done=done,
            loss=loss,
            failed=jnp.where(done, jnp.sum(~jnp.isfinite(loss)), 0),
            gradient_examples=learned * batch_size,
            forward_examples=(jnp.sum(moved) + jnp.where(is_first, size, 0)) * scored,
            sequential_steps=jnp.max(own_stop - start) + moved.any() + is_first,
        )
        state = state._replace(
            params=params,
            loss=loss,
            current=current,
            optimizer_state=optimizer_state,
            slot=state.slot + 1,
        )
        return state, info

    return Algorithm(init, step)
