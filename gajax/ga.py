"""A genetic algorithm whose survivors learn by gradient descent.

Source: David & Greental, "Genetic Algorithms for Evolving Deep Neural Networks", arXiv 1711.07655.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from gajax import breeding, evaluation, sharding
from gajax import crossover as crossovers
from gajax import mutation as mutations
from gajax import population as populations
from gajax import selection as selections
from gajax.types import Algorithm, Data, Info, LossFn, Params, ValueAndGrad

ZERO_ONE_PERCENT = partial(mutations.zero, rate=0.01)
"""The mutation of the published method."""


class GAState(NamedTuple):
    """What persists between steps; the survivors stand first, the best of them at index 0.

    Within a mesh, every device's share of the survivors stands first among its share of all.
    """

    params: Params  # [P, ...]
    optimizer_state: Any  # [P, ...]; that of who has just died says nothing
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
    examples (None: all). `selection` says who survives, but nobody whose loss or genes are not
    finite is a survivor or a parent while anybody else is left.

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
        _layout(size, survivors)
        return GAState(
            params=population,
            optimizer_state=evaluation.map_individuals(optimizer.init, population),
            loss=jnp.full(size, jnp.inf, jnp.float32),
            total=sharding.place(jnp.zeros(size)),
            order=jnp.zeros((training.total, batch_size), jnp.int32),
            generation=jnp.int32(0),
            slot=jnp.int32(training.count),
        )

    def step(key: Key[Array, ""], state: GAState, data: Data) -> tuple[GAState, Info]:
        size = populations.size(state.params)
        scored, training, scoring = plan(data, size)
        place, who = _layout(size, survivors)
        survive = jnp.sort(place[:survivors])  # where the survivors stand
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
            individuals = state.params, state.optimizer_state
            params, optimizer_state = sharding.first(individuals, survivors)
            params, optimizer_state, total = evaluation.gradient_steps(
                value_and_grad,
                optimizer,
                params,
                optimizer_state,
                data,
                order,
                *training.bounds(state.slot),
                chunk_size=chunk_size,
            )
            params, optimizer_state = sharding.replace_first(individuals, (params, optimizer_state))
            state = state._replace(params=params, optimizer_state=optimizer_state, order=order)
            last = state.slot == training.count - 1
            return lax.cond(last, refill, lambda state, total: state, state, total)

        def refill(state: GAState, total: Array) -> GAState:
            """Children of survivors with finite genes, best of a finite loss then and since."""
            key_mate, *keys = jax.random.split(key_refill, 3)
            sound = jax.vmap(populations.is_finite)(sharding.first(state.params, survivors))
            health = sharding.replicate(4 * sound + jnp.isfinite(total))
            health += 2 * jnp.isfinite(state.loss[survive])
            parents = survive[jnp.lexsort((who[survive], -health))]
            count = jnp.sum(health == health.max())
            children = size - survivors
            pairs = -(-children // 2)
            keys = [jax.random.split(key, pairs) for key in keys]
            mothers, fathers = (parents[index] for index in _couples(key_mate, count, pairs))

            def couple(keys: Any, mother: Params, father: Params) -> list[Params]:
                key_cross, key_mutate = keys
                born = crossover(key_cross, mother, father)
                return [
                    mutation(key, child)
                    for key, child in zip(jax.random.split(key_mutate), born, strict=True)
                ]

            born = breeding.breed(
                couple, keys, state.params, mothers, fathers, children, chunk_size
            )
            params = sharding.replace_last(state.params, born)
            if fresh_optimizer:
                optimizer_state = evaluation.map_individuals(optimizer.init, params)
            else:
                owners = jnp.stack([mothers, fathers], axis=1).reshape(-1)[:children]
                inherited = sharding.take((state.optimizer_state,), owners)
                optimizer_state = sharding.replace_last(state.optimizer_state, inherited)
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
            loss = sharding.replicate(state.total)[place] / scored
            dropped = jnp.ones(size, bool).at[selection(key_select, loss, survivors)].set(False)
            order = jnp.lexsort((loss, dropped, ~jnp.isfinite(loss)))[who]
            params = sharding.take((state.params,), place[order])
            optimizer_state = sharding.replace_first(
                state.optimizer_state,
                sharding.take((state.optimizer_state,), place[order][survive]),
            )
            return state._replace(
                params=params,
                optimizer_state=optimizer_state,
                loss=loss[order],
                total=sharding.place(jnp.zeros(size)),
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
            failed=jnp.where(done, jnp.sum(~jnp.isfinite(new.loss)), 0),
            gradient_examples=batches * survivors * batch_size,
            forward_examples=jnp.where(is_training, 0, forward * size),
            sequential_steps=jnp.where(done, 1, batches),
        )
        generation = jnp.where(done, state.generation + 1, state.generation)
        return new._replace(generation=generation, slot=(state.slot + 1) % slots), info

    return Algorithm(init, step)


def _layout(size: int, survivors: int) -> tuple[Int[Array, " P"], Int[Array, " P"]]:
    """Where the individual of each place in the order stands, and whose place each position has.

    Within a mesh every device has its share of the survivors, and behind them its share of the
    others, so that all devices have the same to learn.
    """
    devices = sharding.device_count()
    sharding.check(size)
    sharding.check(survivors, "number of survivors")
    best, others = np.arange(survivors), np.arange(survivors, size)
    shares = best.reshape(devices, -1), others.reshape(devices, -1)
    who = np.concatenate(shares, axis=1).reshape(-1)
    return jnp.asarray(np.argsort(who)), jnp.asarray(who)


def _couples(
    key: Key[Array, ""], count: Int[Array, ""], pairs: int
) -> tuple[Int[Array, " K"], Int[Array, " K"]]:
    """Parents drawn uniformly from so many, a father who is not the mother where there are two."""
    key_mother, key_step = jax.random.split(key)
    mothers = jax.random.randint(key_mother, (pairs,), 0, count)
    steps = jax.random.randint(key_step, (pairs,), 1, jnp.maximum(2, count))
    return mothers, (mothers + steps) % count
