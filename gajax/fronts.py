"""One generation of the evolution of a whole front, from sparse networks to accurate ones.

`nsga2` and `gemonn` are made of it. The two objectives are the density of a network, its share of
genes that are not zero, and its loss. Source: Deb et al., IEEE TEVC 6(2), on NSGA-II.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Real

from gajax import breeding, evaluation, pareto, sharding, types
from gajax import population as populations
from gajax.operators import selection
from gajax.types import Algorithm, Data, LossFn, Params, Plan, Stage, ValueAndGrad

Evaluate = Callable[[Params, Any, tuple[Any, ...]], tuple[Float[Array, " P"], Any]]
"""`evaluate(population, batch, shared) -> (loss, guide)`; the guide travels with its individual."""

Crossover = Callable[
    [Key[Array, ""], tuple[Params, Any], tuple[Params, Any]], tuple[Params, Params]
]
"""`crossover(key, (first, its guide), (second, its guide)) -> two children`."""

Mutation = Callable[[Key[Array, ""], Params], Params]
"""`mutation(key, child) -> child`."""


class Refine(NamedTuple):
    """Gradient steps of the offspring within a generation, each time with a new optimiser.

    Attributes:
      optimizer: wrap it by `sparse`, or zeros will not stay zero.
      steps: batches that every child learns from, one after another.
      interval: generations from one refinement to the next.
    """

    optimizer: optax.GradientTransformation
    steps: int
    interval: int = 1


class FrontState(NamedTuple):
    """The individual of lowest loss stands first."""

    params: Params  # [P, ...]
    guide: Any  # [P, ...], what an individual gives the crossover beside its genes
    loss: Float[Array, " P"]  # on the batch of the last generation, or of its birth
    density: Float[Array, " P"]
    level: Int[Array, " P"]  # order by rank and crowding, 0 the best
    offspring: Params  # [P, ...]
    optimizer_state: Any  # [P, ...], of the offspring while they are refined
    offspring_guide: Any  # [P, ...]
    offspring_loss: Float[Array, " P"]
    parent_loss: Float[Array, " P"]  # what the parents compete with
    failed: Int[Array, ""]


def front(
    loss_fn: LossFn,
    evaluate: Evaluate,
    crossover: Crossover,
    mutation: Mutation,
    value_and_grad: ValueAndGrad,
    *,
    guided: bool,
    batch_size: int,
    refine: Refine | None,
    stale_parents: bool,
    chunk_size: int | None,
) -> Algorithm:
    """Make the algorithm.

    Generation 0 evaluates the initial population. In each later one, the winners of binary
    tournaments by rank and crowding mate, each individual entering twice; their children are
    refined, if at all, evaluated, and compete with their parents for the places of the next
    generation. Parents and children are judged on one batch, which no child has learned from; with
    `stale_parents` parents keep the loss of the batch that they were born on. `guided` says that
    evaluating takes a gradient.
    """
    types.require_at_least(1, chunk_size=chunk_size)
    if refine is not None:
        types.require_at_least(
            1, **{"refine.steps": refine.steps, "refine.interval": refine.interval}
        )

    def init(key: Key[Array, ""], population: Params, data: Data) -> FrontState:
        del key
        size = populations.size(population)
        stages(size, evaluation.example_count(data))
        batch = jax.tree.map(lambda leaf: leaf[:batch_size], data.examples)
        _, guide = jax.eval_shape(evaluate, population, batch, data.shared)
        guide = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), guide)
        infinite = jnp.full(size, jnp.inf, jnp.float32)
        return FrontState(
            params=population,
            guide=sharding.place(guide),
            loss=infinite,
            density=sharding.replicate(populations.density(population)),
            level=jnp.zeros(size, jnp.int32),
            offspring=population,
            optimizer_state=new_optimizer(population),
            offspring_guide=sharding.place(guide),
            offspring_loss=infinite,
            parent_loss=infinite,
            failed=jnp.int32(0),
        )

    def new_optimizer(population: Params) -> Any:
        return evaluation.map_individuals(refine.optimizer.init, population) if refine else None

    @cache
    def stages(size: int, examples: int) -> Plan:
        # A batch to judge by, and others to learn from.
        types.require_batch_size(batch_size, examples // 2 if refine else examples)
        per_epoch = examples // batch_size
        needed = min(per_epoch, 1 + (refine.steps if refine else 0))

        def order(data: Data, generation: Int[Array, ""], number: int, count: int) -> Array:
            """Batches of a generation, all of one epoch; 0 judges, children learn from others."""
            epoch, index = jnp.divmod(generation, per_epoch // needed)
            first = epoch * per_epoch + index * needed + number
            return evaluation.batch_order(data, first, count, batch_size=batch_size)

        def judging_batch(data: Data, generation: Int[Array, ""]) -> Any:
            return evaluation.batch_at(data.examples, order(data, generation, 0, 1), 0)

        def breed(key, state: FrontState, data: Data, generation, start, stop) -> FrontState:
            del data, generation, start, stop
            individuals = state.params, state.guide
            # The individuals with a finite loss stand first, and mate in place of the others.
            finite = jnp.sum(jnp.isfinite(state.loss))
            offspring = mate(
                crossover,
                mutation,
                key,
                individuals,
                state.level,
                finite,
                chunk_size=chunk_size,
            )
            return state._replace(offspring=offspring, optimizer_state=new_optimizer(offspring))

        def refine_offspring(
            key, state: FrontState, data: Data, generation, start, stop
        ) -> FrontState:
            del key
            assert refine is not None
            offspring, optimizer_state, _ = evaluation.gradient_steps(
                value_and_grad,
                refine.optimizer,
                state.offspring,
                state.optimizer_state,
                data,
                order(data, generation, 1, needed - 1),
                start,
                stop,
                chunk_size=chunk_size,
            )
            return state._replace(offspring=offspring, optimizer_state=optimizer_state)

        def evaluate_offspring(
            key, state: FrontState, data: Data, generation, start, stop
        ) -> FrontState:
            del key, start, stop
            loss, guide = evaluate(state.offspring, judging_batch(data, generation), data.shared)
            loss = sharding.replicate(loss.astype(state.loss.dtype))
            return state._replace(offspring_loss=loss, offspring_guide=guide)

        def evaluate_parents(
            key, state: FrontState, data: Data, generation, start, stop
        ) -> FrontState:
            del key, start, stop
            batch = judging_batch(data, generation)
            loss = evaluation.batch_losses(
                loss_fn, state.params, batch, data.shared, chunk_size=chunk_size
            )
            loss = sharding.replicate(loss.astype(state.loss.dtype))
            # A batch on which no loss is finite tells nothing about the parents.
            is_usable = jnp.isfinite(loss).any() | jnp.isfinite(state.offspring_loss).any()
            return state._replace(parent_loss=jnp.where(is_usable, loss, state.loss))

        def select(key, state: FrontState, data: Data, generation, start, stop) -> FrontState:
            del key, data, generation, start, stop
            died = jnp.isfinite(state.loss) & ~jnp.isfinite(state.parent_loss)
            failed = jnp.sum(died) + jnp.sum(~jnp.isfinite(state.offspring_loss))
            density = sharding.replicate(populations.density(state.offspring))
            objectives = (
                jnp.stack([state.density, state.parent_loss], axis=1),
                jnp.stack([density, state.offspring_loss], axis=1),
            )
            individuals = (state.params, state.guide), (state.offspring, state.offspring_guide)
            (params, guide), chosen, level = survive(*individuals, *objectives)
            return state._replace(
                params=params,
                guide=guide,
                density=chosen[:, 0],
                loss=chosen[:, 1],
                level=level,
                parent_loss=chosen[:, 1],
                failed=failed,
            )

        work = size * batch_size
        judge = Stage(
            evaluate_offspring,
            gradient_examples=work if guided else 0,
            forward_examples=0 if guided else work,
            sequential_steps=1,
        )
        # At the same time as the offspring, so no further sequential step.
        ending = (Stage(select),)
        if not stale_parents:
            ending = Stage(evaluate_parents, forward_examples=work), *ending
        unrefined = refined = (Stage(breed), judge, *ending)
        if refine is not None:
            steps = refine.steps
            learning = Stage(refine_offspring, steps, steps * work, sequential_steps=steps)
            refined = (Stage(breed), learning, judge, *ending)

        def plan(generation: int) -> tuple[Stage, ...]:
            if generation == 0:
                return judge, Stage(select)
            is_refined = refine is not None and generation % refine.interval == 0
            return refined if is_refined else unrefined

        return plan

    return Algorithm(init, stages)


def mate(
    crossover: Crossover,
    mutation: Mutation,
    key: Key[Array, ""],
    individuals: tuple[Params, Any],
    level: Int[Array, " P"],
    eligible: int | Int[Array, ""],
    *,
    chunk_size: int | None = None,
) -> Params:
    """P children of the winners of binary tournaments by level, in which each enters twice.

    Winners behind the first `eligible` individuals are replaced by some of these, where there are
    any. `individuals` are the genes and the guides, [P, ...] each.
    """
    key_tournament, key_children = jax.random.split(key)
    size = len(level)
    pairs = -(-size // 2)
    parents = selection.tournament(key_tournament, level, 2 * pairs)
    parents %= jnp.where(eligible > 0, eligible, size)
    couples = parents[:pairs], parents[pairs:]
    return breeding.breed(
        crossover, mutation, key_children, individuals, *couples, size, chunk_size=chunk_size
    )


def survive(
    parents: Any,
    offspring: Any,
    parent_objectives: Real[Array, "P 2"],
    offspring_objectives: Real[Array, "P 2"],
) -> tuple[Any, Real[Array, "P 2"], Int[Array, " P"]]:
    """The P individuals of lowest rank, then of largest crowding, of parents and offspring.

    Parents and offspring are trees of everything that belongs to an individual. Returns that of the
    survivors, their objectives and their levels, sorted by the last objective.
    """
    size = len(parent_objectives)
    objectives = jnp.concatenate([parent_objectives, offspring_objectives])
    rank = pareto.ranks(objectives)
    level = pareto.levels(rank, pareto.crowding(objectives, rank))
    chosen = jnp.argsort(level)[:size]
    last = objectives[chosen, -1]
    chosen = chosen[jnp.lexsort((last, ~jnp.isfinite(last)))]
    return sharding.take((parents, offspring), chosen), objectives[chosen], level[chosen]
