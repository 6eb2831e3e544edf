"""One generation of the evolution of a whole front, from sparse networks to accurate ones.

`nsga2` and `gemonn` are made of it. The two objectives are the density of a network, its share of
genes that are not zero, and its loss. Source: Deb et al., IEEE TEVC 6(2), on NSGA-II.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Real

from gajax import breeding, evaluation, pareto, sharding, types
from gajax import population as populations
from gajax.operators import selection
from gajax.types import Algorithm, Data, LossFn, Params, Plan, Stage, ValueAndGrad


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
    signs: Any  # [P, ...], of the gradient at each gene, or None
    loss: Float[Array, " P"]  # on the batch of the last generation, or of its birth
    density: Float[Array, " P"]
    level: Int[Array, " P"]  # order by rank and crowding, 0 the best
    offspring: Params  # [P, ...]
    optimizer_state: Any  # [P, ...], of the offspring while they are refined
    offspring_signs: Any  # [P, ...]
    offspring_loss: Float[Array, " P"]
    parent_loss: Float[Array, " P"]  # what the parents compete with
    failed: Int[Array, ""]


def front(
    loss_fn: LossFn,
    *,
    crossover: Callable[..., tuple[Params, Params]],
    mutation: Callable[..., Params],
    value_and_grad: ValueAndGrad | None,
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
    `stale_parents` parents keep the loss of the batch that they were born on. `guided` evaluates
    the signs of gradients too, and gives those of both parents to the crossover behind the genes.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)
    types.require_at_least(1, chunk_size=chunk_size)
    steps, interval = (refine.steps, refine.interval) if refine else (0, 1)
    if refine:
        types.require_at_least(1, **{"refine.steps": steps, "refine.interval": interval})

    def cross(key, first: tuple[Params, Any], second: tuple[Params, Any]) -> tuple[Params, Params]:
        genes, signs = zip(first, second, strict=True)
        return crossover(key, *genes, *(signs if guided else ()))

    def new_optimizer(population: Params) -> Any:
        return evaluation.map_individuals(refine.optimizer.init, population) if refine else None

    def init(key: Key[Array, ""], population: Params, data: Data) -> FrontState:
        size = populations.size(population)
        stages(size, evaluation.example_count(data))
        signs = None
        if guided:
            signs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.int8), population)
            signs = sharding.place(signs)
        infinite = jnp.full(size, jnp.inf, float)
        return FrontState(
            params=population,
            signs=signs,
            loss=infinite,
            density=sharding.replicate(populations.density(population)),
            level=jnp.zeros(size, jnp.int32),
            offspring=population,
            optimizer_state=new_optimizer(population),
            offspring_signs=signs,
            offspring_loss=infinite,
            parent_loss=infinite,
            failed=jnp.int32(0),
        )

    @cache
    def stages(size: int, examples: int) -> Plan:
        # A batch to judge by, and others to learn from.
        types.require_batch_size(batch_size, examples // 2 if refine else examples)
        per_epoch = examples // batch_size
        needed = min(per_epoch, 1 + steps)

        def order(data: Data, generation: Int[Array, ""], number: int, count: int) -> Array:
            """Batches of a generation, all of one epoch; 0 judges, children learn from others."""
            epoch, index = jnp.divmod(generation, per_epoch // needed)
            first = epoch * per_epoch + index * needed + number
            return evaluation.batch_order(data, first, count, batch_size=batch_size)

        def breed(key, state: FrontState, data: Data, generation, start, stop):
            # Individuals with a finite loss stand first and mate in place of the others.
            finite = jnp.sum(jnp.isfinite(state.loss))
            pair = partial(mate, cross, mutation, chunk_size=chunk_size)
            offspring = pair(key, (state.params, state.signs), state.level, finite)
            return state._replace(offspring=offspring, optimizer_state=new_optimizer(offspring))

        def refine_offspring(key, state: FrontState, data: Data, generation, start, stop):
            assert refine is not None
            learn = partial(evaluation.gradient_steps, value_and_grad, refine.optimizer)
            batches = data, order(data, generation, 1, needed - 1), start, stop
            offspring, optimizer_state, _ = learn(
                state.offspring, state.optimizer_state, *batches, chunk_size=chunk_size
            )
            return state._replace(offspring=offspring, optimizer_state=optimizer_state)

        def judge(population: Params, data: Data, generation, gradient_fn=None) -> tuple[Any, Any]:
            """Losses on the batch of the generation, and signs."""
            batch = evaluation.batch_at(data.examples, order(data, generation, 0, 1), 0)
            judged = partial(evaluation.batch_losses, loss_fn, population, batch, data.shared)
            loss, signs = judged(gradient_fn=gradient_fn, chunk_size=chunk_size)
            return sharding.replicate(loss), signs

        def evaluate_offspring(key, state: FrontState, data: Data, generation, start, stop):
            gradient_fn = value_and_grad if guided else None
            loss, signs = judge(state.offspring, data, generation, gradient_fn)
            return state._replace(offspring_loss=loss, offspring_signs=signs)

        def evaluate_parents(key, state: FrontState, data: Data, generation, start, stop):
            loss, _ = judge(state.params, data, generation)
            # A batch on which no loss is finite says nothing about the parents.
            is_usable = jnp.isfinite(loss).any() | jnp.isfinite(state.offspring_loss).any()
            return state._replace(parent_loss=jnp.where(is_usable, loss, state.loss))

        def select(key, state: FrontState, data: Data, generation, start, stop):
            newly_failed = jnp.where(jnp.isfinite(state.loss), state.parent_loss, 0)
            failed = evaluation.failures(newly_failed) + evaluation.failures(state.offspring_loss)
            density = sharding.replicate(populations.density(state.offspring))
            objectives = (
                jnp.stack([state.density, state.parent_loss], axis=1),
                jnp.stack([density, state.offspring_loss], axis=1),
            )
            individuals = (state.params, state.signs), (state.offspring, state.offspring_signs)
            (params, signs), chosen, level = survive(*individuals, *objectives)
            return state._replace(
                params=params,
                signs=signs,
                density=chosen[:, 0],
                loss=chosen[:, 1],
                level=level,
                parent_loss=chosen[:, 1],
                failed=failed,
            )

        work = size * batch_size
        costs = (work, 0) if guided else (0, work)
        judging = Stage(evaluate_offspring, 1, *costs, sequential_steps=1)
        # At the same time as the offspring, so no further sequential step.
        judge_parents = () if stale_parents else (Stage(evaluate_parents, 1, 0, work),)
        ending = judging, *judge_parents, Stage(select)
        refining = Stage(refine_offspring, steps, steps * work, sequential_steps=steps)
        refined = Stage(breed), *([refining] if refine else []), *ending

        def plan(generation: int) -> tuple[Stage, ...]:
            if generation == 0:
                return judging, Stage(select)
            return (Stage(breed), *ending) if generation % interval else refined

        return plan

    return Algorithm(init, stages)


def mate(
    crossover: Callable[..., tuple[Params, Params]],
    mutation: Callable[..., Params],
    key: Key[Array, ""],
    individuals: Any,
    level: Int[Array, " P"],
    eligible: int | Int[Array, ""],
    *,
    chunk_size: int | None = None,
) -> Params:
    """P children of the winners of binary tournaments by level, in which each enters twice.

    Winners behind the first `eligible` individuals are replaced by some of these, where there are
    any. The operators are those of `breeding.breed`, for individuals that may be trees of genes
    and more.
    """
    key_tournament, key_children = jax.random.split(key)
    size = len(level)
    pairs = -(-size // 2)
    parents = selection.tournament(key_tournament, level, 2 * pairs)
    parents %= jnp.where(eligible > 0, eligible, size)
    produce = partial(breeding.breed, crossover, mutation, chunk_size=chunk_size)
    return produce(key_children, individuals, parents[:pairs], parents[pairs:], size)


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
