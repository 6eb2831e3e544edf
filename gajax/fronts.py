"""One generation of the evolution of a whole front, from sparse networks to accurate ones.

`nsga2` and `gemonn` are made of it. The two objectives are the density of a network, its share of
genes that are not zero, and its loss. Source: Deb et al., IEEE TEVC 6(2), on NSGA-II.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from gajax import breeding, evaluation, pareto, selection, sharding
from gajax import population as populations
from gajax.types import Algorithm, Data, Info, LossFn, Params, ValueAndGrad

Evaluate = Callable[[Params, Any, tuple[Any, ...]], tuple[Float[Array, " P"], Any]]
"""`evaluate(population, batch, shared) -> (loss, guide)`; the guide travels with its individual."""

Breed = Callable[[Key[Array, ""], Params, Params, Any, Any], tuple[Params, Params]]
"""`breed(key, first, second, first_guide, second_guide) -> two children`."""


class Refine(NamedTuple):
    """Gradient steps of the offspring within a generation, each with a new optimiser.

    Attributes:
      optimizer: wrap it by `sparse`, or zeros will not stay zero.
      steps: batches that every child learns from, one after another.
      every: generations from one refinement to the next.
    """

    optimizer: optax.GradientTransformation
    steps: int
    every: int = 1


class FrontState(NamedTuple):
    """What persists between steps; the individual of lowest loss stands first."""

    params: Params  # [P, ...]
    guide: Any  # [P, ...], what a parent tells the crossover
    loss: Float[Array, " P"]  # on the batch of the last whole generation, or of the own birth
    density: Float[Array, " P"]
    level: Int[Array, " P"]  # place by rank and crowding
    offspring: Any  # [P, ...] and their optimiser states, while they are refined
    order: Int[Array, "T B"]  # the batches of this epoch
    epoch: Int[Array, ""]
    batch: Int[Array, ""]  # the first one of this generation
    generation: Int[Array, ""]
    slot: Int[Array, ""]  # steps done in this generation


def front(
    loss_fn: LossFn,
    evaluate: Evaluate,
    breed: Breed,
    value_and_grad: ValueAndGrad,
    *,
    guided: bool,
    batch_size: int,
    refine: Refine | None,
    stale_parents: bool,
    chunk_size: int | None,
    examples_per_step: int | None,
) -> Algorithm:
    """Make the algorithm.

    Generation 0 evaluates the initial population. In each later one, the winners of binary
    tournaments by rank and crowding mate, everybody entering twice; their children are refined, if
    at all, evaluated, and compete with their parents for the places of the next generation.
    The parents are scored anew on the batch of their children, unless `stale_parents`.
    `guided` says that evaluating takes a gradient, so costs as much.

    A step is a generation, or a part of its refinement: at most about `examples_per_step`
    individuals x examples.
    """

    def plan(data: Data, size: int) -> evaluation.Parts:
        examples = evaluation.example_count(data)
        if not 0 < batch_size <= examples:
            raise ValueError(f"batch_size must be from 1 to {examples}, not {batch_size}")
        work = examples_per_step or evaluation.default_examples_per_step()
        steps = refine.steps if refine else 1
        return evaluation.Parts(steps, max(1, work // (size * batch_size)))

    def init(key: Key[Array, ""], population: Params, data: Data) -> FrontState:
        del key
        size = populations.size(population)
        plan(data, size)
        batch = jax.tree.map(lambda leaf: leaf[:batch_size], data.examples)
        _, guide = jax.eval_shape(evaluate, population, batch, data.shared)
        return FrontState(
            params=population,
            guide=sharding.place(
                jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), guide)
            ),
            loss=jnp.full(size, jnp.inf, jnp.float32),
            density=sharding.replicate(_densities(population)),
            level=jnp.zeros(size, jnp.int32),
            offspring=_to_learn(refine, lambda: population) if refine else None,
            order=evaluation.batch_order(data, 0, batch_size=batch_size),
            epoch=jnp.int32(0),
            batch=jnp.int32(0),
            generation=jnp.int32(0),
            slot=jnp.int32(0),
        )

    def step(key: Key[Array, ""], state: FrontState, data: Data) -> tuple[FrontState, Info]:
        size = populations.size(state.params)
        parts = plan(data, size)
        is_initial = state.generation == 0
        refines = refine is not None and (state.generation % refine.every == 0) & ~is_initial
        slots = jnp.where(refines, parts.count, 1)
        done = state.slot == slots - 1
        trained = jnp.where(refines, parts.total, 0)  # batches before the one that evaluates
        state = lax.cond(state.slot == 0, partial(_next_batches, data, trained + 1), _same, state)

        def mate() -> Params:
            key_mate, key_breed = jax.random.split(jax.random.fold_in(key, state.generation))
            pairs = -(-size // 2)
            parents = selection.tournament(key_mate, state.level, 2 * pairs)
            living = jnp.sum(jnp.isfinite(state.loss))  # they stand first, and mate for the dead
            parents %= jnp.where(living > 0, living, size)
            keys = jax.random.split(key_breed, pairs)

            def couple(key: Key[Array, ""], mother: Any, father: Any) -> tuple[Params, Params]:
                return breed(key, mother[0], father[0], mother[1], father[1])

            known = state.params, state.guide
            mothers, fathers = parents[:pairs], parents[pairs:]
            return breeding.breed(couple, keys, known, mothers, fathers, size, chunk_size)

        def born() -> Params:
            return lax.cond(is_initial, lambda: state.params, mate)

        if refine is None:
            offspring = born()
        else:
            offspring, optimizer_state = lax.cond(
                state.slot == 0, partial(_to_learn, refine, born), lambda: state.offspring
            )
            start, stop = parts.bounds(state.slot)
            stop = jnp.where(refines, stop, start)
            offspring, optimizer_state, _ = evaluation.gradient_steps(
                value_and_grad,
                refine.optimizer,
                offspring,
                optimizer_state,
                data,
                state.order,
                state.batch + start,
                state.batch + stop,
                chunk_size=chunk_size,
            )
            state = state._replace(offspring=(offspring, optimizer_state))

        def anew(batch: Any) -> Array:
            losses = evaluation.batch_losses(
                loss_fn, state.params, batch, data.shared, chunk_size=chunk_size
            )
            return sharding.replicate(losses.astype(state.loss.dtype))

        def survive(state: FrontState) -> tuple[FrontState, Array]:
            batch = evaluation.batch_at(data.examples, state.order, state.batch + trained)
            loss, guide = evaluate(offspring, batch, data.shared)
            loss = sharding.replicate(loss.astype(state.loss.dtype))
            own = state.loss
            if not stale_parents:
                own = lax.cond(is_initial, lambda: state.loss, partial(anew, batch))
            # A batch of which nobody has a finite loss tells nothing about the parents.
            is_good = jnp.isfinite(jnp.stack([own, loss])).any()
            own = jnp.where(is_good, own, state.loss)
            died = jnp.isfinite(state.loss) & ~jnp.isfinite(own)
            failed = jnp.sum(died) + jnp.sum(~jnp.isfinite(loss))
            density = sharding.replicate(_densities(offspring))
            densities, losses = populations.concatenate((state.density, own), (density, loss))
            objectives = jnp.stack([densities, losses], axis=1)
            chosen = pareto.survivors(objectives, size)
            chosen = chosen[jnp.lexsort((losses[chosen], ~jnp.isfinite(losses[chosen])))]
            objectives = objectives[chosen]
            rank = pareto.ranks(objectives)
            params, guide = sharding.take(((state.params, state.guide), (offspring, guide)), chosen)
            state = state._replace(
                params=params,
                guide=guide,
                density=objectives[:, 0],
                loss=objectives[:, 1],
                level=pareto.levels(rank, pareto.crowding(objectives, rank)),
                batch=state.batch + trained + 1,
            )
            return state, failed

        generation = state.generation
        state, failed = lax.cond(done, survive, lambda state: (state, jnp.int32(0)), state)
        start, stop = parts.bounds(state.slot)
        learned = jnp.where(refines, stop - start, 0)
        scored = jnp.where(is_initial | stale_parents, 0, size) + (0 if guided else size)
        info = Info(
            generation=generation,
            fraction=(state.slot + 1) / slots,
            done=done,
            loss=state.loss,
            failed=failed,
            gradient_examples=(learned + (done if guided else 0)) * size * batch_size,
            forward_examples=jnp.where(done, scored, 0) * batch_size,
            sequential_steps=learned + done,
        )
        state = state._replace(
            generation=jnp.where(done, generation + 1, generation),
            slot=jnp.where(done, 0, state.slot + 1),
        )
        return state, info

    return Algorithm(init, step)


def _same(state: FrontState) -> FrontState:
    return state


def _next_batches(data: Data, needed: Int[Array, ""], state: FrontState) -> FrontState:
    """Begin a new epoch where this one has too few batches left for the generation."""

    def renew() -> FrontState:
        order = evaluation.batch_order(data, state.epoch + 1, batch_size=state.order.shape[1])
        return state._replace(order=order, epoch=state.epoch + 1, batch=jnp.int32(0))

    ends = (state.batch > 0) & (state.batch + needed > len(state.order))
    return lax.cond(ends, renew, lambda: state)


def _to_learn(refine: Refine, born: Callable[[], Params]) -> tuple[Params, Any]:
    population = born()
    return population, evaluation.map_individuals(refine.optimizer.init, population)


def _densities(population: Params) -> Float[Array, " P"]:
    """What `populations.density` gives, individual by individual: a CPU counts faster so."""

    def of_one(individual: Params) -> Float[Array, ""]:
        return populations.density(jax.tree.map(lambda leaf: leaf[None], individual))[0]

    return populations.map_individuals(of_one, population)
