"""Gradient steps of a finished population, in which every individual keeps its best moment.

Source: the final SSGD of Yang et al., IEEE TNNLS 33(9), on GEMONN.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from gajax import context as contexts
from gajax import evaluation, gradients, types
from gajax import population as populations
from gajax.checks import check_training
from gajax.context import Loss
from gajax.types import Algorithm, Data, Optimizer, Plan, Stage

_FEWEST = 20
_SPARSE = 0.05


class RefinementState(NamedTuple):
    """The individuals keep the order that they were given in.

    Attributes:
      params: the best moment of each individual so far, [P, ...].
      loss: of these, on the examples that decide, [P].
      metrics: likewise, a dict of [P].
      current: what learns, [P, ...].
      optimizer_state: that of each, [P, ...].
      budget: gradient steps of each individual, [P].
      failed: individuals whose loss or genes are not finite, [].

    Example:
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=0)
      >>> settings = {"optimizer": optax.sgd(0.1), "batch_size": 4, "steps": 4}
      >>> algorithm = gajax.refinement(lambda w, x: (x @ w).mean(), **settings)
      >>> gajax.state_shapes(algorithm, 0, jnp.ones((3, 2)), data).budget.shape
      (3,)
    """

    params: Any
    loss: Float[Array, " P"]
    metrics: dict[str, Float[Array, " P"]]
    current: Any
    optimizer_state: Any
    budget: Int[Array, " P"]
    failed: Int[Array, ""]


def budgets(density: Float[Array, " P"], steps: int) -> Int[Array, " P"]:
    """Gradient steps of each individual: `steps` for the densest, in proportion for the others.

    Those of density below .05 get 20, as published, unless that is more than `steps`.
    """
    proportional = jnp.round(steps * density / jnp.max(density)).astype(jnp.int32)
    return jnp.where(density < _SPARSE, min(_FEWEST, steps), proportional)


def generation_count(steps: int, checks: int) -> int:
    """Number of the last generation of `refinement` with these arguments."""
    return -(-steps // max(1, steps // checks))


@types.cached
def refinement(
    loss_fn: Loss,
    *,
    optimizer: Optimizer,
    batch_size: int,
    steps: int,
    value_and_grad: Loss | None = None,
    score_examples: int = evaluation.SCORE_BATCH,
    checks: int = 20,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm; wrap the optimiser by `sparse`, or zeros will not stay zero.

    Every individual takes its share of `steps` gradient steps (`budgets`), in about `checks`
    generations; then the algorithm ends. Generation 0 scores all individuals on the first
    `score_examples` examples, each later one those that have moved, and each individual ends as
    what it was at its lowest loss there: as if refined ones and parents competed once more.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params - 1) ** 2)
      >>> data = gajax.Data(jax.random.normal(jax.random.key(0), (64, 4)), order_key=0)
      >>> population = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
      >>> optimizer = gajax.sparse(optax.sgd(0.1))
      >>> settings = {"batch_size": 16, "steps": 4, "checks": 2}
      >>> algorithm = gajax.refinement(loss_fn, optimizer=optimizer, **settings)
      >>> for state, info in gajax.evolve(algorithm, 2, population, data):
      ...     pass
      >>> gajax.density(state.params).tolist(), state.budget.tolist()
      ([0.25, 0.5], [2, 4])
    """
    value_and_grad = value_and_grad or contexts.value_and_grad(loss_fn)
    types.require_at_least(1, steps=steps, score_examples=score_examples, checks=checks)
    types.require_at_least(1, chunk_size=chunk_size)
    learn = partial(gradients.gradient_steps, value_and_grad, optimizer, chunk_size=chunk_size)
    interval = max(1, steps // checks)
    generations = generation_count(steps, checks)

    def init(key: Key[Array, ""], population: Any, data: Data) -> RefinementState:
        size = populations.size(population)
        stages(size, evaluation.example_count(data))
        return RefinementState(
            params=population,
            loss=jnp.full(size, jnp.inf, float),
            metrics=evaluation.no_total(loss_fn, population, data, batch_size).metrics,
            current=population,
            optimizer_state=gradients.init_optimizer(optimizer, population),
            budget=budgets(populations.density(population), steps),
            failed=jnp.int32(0),
        )

    @cache
    def stages(size: int, examples: int) -> Plan:
        types.require_batch_size(batch_size, examples)
        scored = min(score_examples, examples)

        def steps_left(state: RefinementState, generation) -> Int[Array, " P"]:
            """Gradient steps of each individual from the beginning of a generation on."""
            return jnp.maximum(state.budget - (generation - 1) * interval, 0)

        def train(key, state: RefinementState, data: Data, generation, start, stop):
            first = (generation - 1) * interval
            order = evaluation.batch_order(data, first, interval, batch_size=batch_size)
            stops = jnp.minimum(steps_left(state, generation), stop)
            keys = contexts.keys_of(loss_fn, key, size)
            individuals = state.current, state.optimizer_state
            current, optimizer_state, _ = learn(*individuals, data, order, start, stops, keys=keys)
            return state._replace(current=current, optimizer_state=optimizer_state)

        def training_cost(state: RefinementState, generation, start, stop):
            learned = jnp.clip(steps_left(state, generation), start, stop) - start
            return jnp.sum(learned) * batch_size, jnp.int32(0)

        def keep_best(key, state: RefinementState, data: Data, generation, start, stop):
            moved = steps_left(state, generation) > 0
            batches = jnp.where(moved, evaluation.score_batches(scored), 0)
            keys = contexts.keys_of(loss_fn, key, size)
            options = {"examples": scored, "keys": keys, "chunk_size": chunk_size}
            loss, metrics = evaluation.score(loss_fn, state.current, data, 0, batches, **options)
            is_better = moved & jnp.isfinite(loss) & (loss < state.loss)
            new, old = (state.current, loss, metrics), (state.params, state.loss, state.metrics)
            params, loss, metrics = populations.where(is_better, new, old)
            failed = evaluation.failures(loss)
            return state._replace(params=params, loss=loss, metrics=metrics, failed=failed)

        def check_cost(state: RefinementState, generation, start, stop):
            return jnp.int32(0), jnp.sum(steps_left(state, generation) > 0) * scored

        check = Stage(keep_best, 1, 0, size * scored, 1, check_cost)

        def training(turns: int) -> Stage:
            return Stage(train, turns, turns * size * batch_size, 0, turns, training_cost)

        whole, last = training(interval), training(steps - (generations - 1) * interval)

        def plan(generation: int) -> tuple[Stage, ...]:
            if generation == 0:
                return (check,)
            if generation > generations:
                return ()
            return last if generation == generations else whole, check

        return plan

    def check(population: Any, data: Data) -> None:
        check_training(loss_fn, value_and_grad, optimizer, population, data, batch_size)

    return Algorithm(init, stages, check)
