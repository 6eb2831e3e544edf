"""One generation of the evolution of a whole front, from sparse networks to accurate ones.

`nsga2` and `gemonn` are made of it. The objectives are functions of the genes, such as the density
of a network, its share of genes that are not zero, and last the loss. Source: Deb et al., IEEE TEVC
6(2), on NSGA-II.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from gajax import breeding, evaluation, gradients, mating, sharding, types
from gajax import context as contexts
from gajax import population as populations
from gajax.checks import (
    check_bound,
    check_genes,
    check_loss,
    check_objectives,
    check_operators,
    check_optimizer,
)
from gajax.context import Loss, Measured
from gajax.individual import density, genes_of
from gajax.types import Algorithm, Data, Optimizer, Outside, Params, Plan, Stage

Objectives = Mapping[str, Callable[[Params], Float[Array, ""]]]
"""Functions of the genes of one individual by their names, minimised beside the loss."""

DENSITY: Objectives = {"density": density}
"""The objective of the published methods."""


class Refine(NamedTuple):
    """Gradient steps of the offspring within a generation, each time with a new optimiser.

    Attributes:
      optimizer: wrap it by `sparse`, or zeros will not stay zero.
      steps: batches that every child learns from, one after another.
      interval: generations from one refinement to the next.

    Example:
      >>> refine = gajax.Refine(gajax.sparse(optax.adam(1e-2)), steps=20)
      >>> refine.interval
      1
    """

    optimizer: Optimizer
    steps: int
    interval: int = 1


class FrontState(NamedTuple):
    """The individual of lowest loss stands first.

    Attributes:
      params: the individuals, [P, ...].
      signs: of the gradient at each gene, [P, ...], or None.
      loss: on the batch of the last generation, or of its birth, [P].
      metrics: likewise, a dict of [P].
      objectives: those beside the loss, a dict of [P].
      level: order by rank and crowding, 0 the best, [P].
      offspring: the children of this generation, [P, ...].
      optimizer_state: that of the offspring while they are refined, [P, ...].
      offspring_signs: those of the offspring, [P, ...], or None.
      offspring_measured: losses and metrics of the offspring.
      parent_measured: what the parents compete with.
      failed: individuals whose loss or genes are not finite, [].

    Example:
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=0)
      >>> algorithm = gajax.gemonn(lambda w, x: (x @ w).mean(), batch_size=4)
      >>> state = gajax.state_shapes(algorithm, 0, jnp.ones((5, 2)), data)
      >>> state.density.shape, state.signs.dtype, state.level.shape
      ((5,), dtype('int8'), (5,))
    """

    params: Any
    signs: Any
    loss: Float[Array, " P"]
    metrics: dict[str, Float[Array, " P"]]
    objectives: dict[str, Float[Array, " P"]]
    level: Int[Array, " P"]
    offspring: Any
    optimizer_state: Any
    offspring_signs: Any
    offspring_measured: Measured
    parent_measured: Measured
    failed: Int[Array, ""]

    @property
    def density(self) -> Any:
        """The objective of this name."""
        return self.objectives["density"]


def front(
    loss_fn: Loss | None,
    *,
    objectives: Objectives,
    crossover: Callable[..., tuple[Params, Params]],
    mutation: Callable[..., Params],
    hyper_mutation: Callable[..., Any],
    value_and_grad: Loss | None,
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

    Example:
      >>> algorithm = gajax.fronts.front(
      ...     lambda w, x: (x @ w).mean(),
      ...     objectives=gajax.fronts.DENSITY,
      ...     crossover=gajax.crossover.sbx,
      ...     mutation=gajax.mutation.polynomial,
      ...     hyper_mutation=gajax.mutation.scale,
      ...     value_and_grad=None,
      ...     guided=False,
      ...     batch_size=4,
      ...     refine=None,
      ...     stale_parents=False,
      ...     chunk_size=None,
      ... )
      >>> [stage.name for stage in algorithm.stages(6, 8)(1)]
      ['breed', 'evaluate_offspring', 'evaluate_parents', 'select']
    """
    value_and_grad = value_and_grad or contexts.value_and_grad(loss_fn)
    types.require_at_least(1, chunk_size=chunk_size)
    steps, interval = (refine.steps, refine.interval) if refine else (0, 1)
    if refine:
        types.require_at_least(1, **{"refine.steps": steps, "refine.interval": interval})

    cross_individuals, mutate = breeding.of_individuals(crossover, mutation, hyper_mutation)

    def cross(key, first: tuple[Any, Any], second: tuple[Any, Any]) -> tuple[Any, Any]:
        individuals, signs = zip(first, second, strict=True)
        return cross_individuals(key, *individuals, guides=signs if guided else ())

    def new_optimizer(population: Any) -> Any:
        return gradients.init_optimizer(refine.optimizer, population) if refine else None

    def objectives_of(population: Any) -> dict[str, Float[Array, " P"]]:
        def one(individual: Any) -> dict[str, Array]:
            genes = genes_of(individual)
            return {name: jnp.asarray(of(genes), float) for name, of in objectives.items()}

        return sharding.replicate(evaluation.map_individuals(one, population))

    def init(key: Key[Array, ""], population: Any, data: Data) -> FrontState:
        size = populations.size(population)
        stages(size, evaluation.example_count(data))
        signs = None
        if guided:
            genes = genes_of(population)
            signs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.int8), genes)
            signs = sharding.place(signs)
        total = evaluation.no_total(loss_fn, population, data, batch_size)
        measured = total._replace(loss=jnp.full(size, jnp.inf, float))
        return FrontState(
            params=population,
            signs=signs,
            loss=measured.loss,
            metrics=measured.metrics,
            objectives=objectives_of(population),
            level=jnp.zeros(size, jnp.int32),
            offspring=population,
            optimizer_state=new_optimizer(population),
            offspring_signs=signs,
            offspring_measured=measured,
            parent_measured=measured,
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
            pair = partial(mating.mate, cross, mutate, chunk_size=chunk_size)
            offspring = pair(key, (state.params, state.signs), state.level, finite)
            return state._replace(offspring=offspring, optimizer_state=new_optimizer(offspring))

        def refine_offspring(key, state: FrontState, data: Data, generation, start, stop):
            assert refine is not None
            learn = partial(gradients.gradient_steps, value_and_grad, refine.optimizer)
            individuals = state.offspring, state.optimizer_state
            batches = data, order(data, generation, 1, needed - 1), start, stop
            options = {"keys": contexts.keys_of(loss_fn, key, size), "chunk_size": chunk_size}
            offspring, optimizer_state, _ = learn(*individuals, *batches, **options)
            return state._replace(offspring=offspring, optimizer_state=optimizer_state)

        def judge(key, population: Any, data: Data, generation, gradient_fn=None):
            """Losses and metrics on the batch of the generation, and signs."""
            batch = evaluation.batch_at(data.examples, order(data, generation, 0, 1), 0)
            judged = partial(evaluation.batch_losses, loss_fn, population, batch, data.shared)
            options = {"keys": contexts.keys_of(loss_fn, key, size), "chunk_size": chunk_size}
            measured, signs = judged(gradient_fn=gradient_fn, **options)
            return sharding.replicate(measured), signs

        def evaluate_offspring(key, state: FrontState, data: Data, generation, start, stop):
            gradient_fn = value_and_grad if guided else None
            measured, signs = judge(key, state.offspring, data, generation, gradient_fn)
            return state._replace(offspring_measured=measured, offspring_signs=signs)

        def evaluate_parents(key, state: FrontState, data: Data, generation, start, stop):
            measured, _ = judge(key, state.params, data, generation)
            return state._replace(parent_measured=measured)

        def select(key, state: FrontState, data: Data, generation, start, stop):
            parents, offspring = state.parent_measured, state.offspring_measured
            # A batch on which no loss is finite says nothing about the parents.
            is_usable = jnp.isfinite(jnp.stack([parents.loss, offspring.loss])).any()
            old = Measured(state.loss, state.metrics)
            parents = jax.tree.map(lambda new, old: jnp.where(is_usable, new, old), parents, old)
            newly_failed = jnp.where(jnp.isfinite(state.loss), parents.loss, 0)
            failed = evaluation.failures(newly_failed) + evaluation.failures(offspring.loss)
            columns = state.objectives, objectives_of(state.offspring)
            points = (
                jnp.stack([*(column[name] for name in objectives), measured.loss], axis=1)
                for column, measured in zip(columns, (parents, offspring), strict=True)
            )
            individuals = (
                (state.params, state.signs, parents.metrics),
                (state.offspring, state.offspring_signs, offspring.metrics),
            )
            (params, signs, metrics), points, level = mating.survive(*individuals, *points)
            *columns, loss = points.T
            measured = Measured(loss, sharding.replicate(metrics))
            return state._replace(
                params=params,
                signs=signs,
                loss=loss,
                metrics=measured.metrics,
                objectives=dict(zip(objectives, columns, strict=True)),
                level=level,
                parent_measured=measured,
                failed=failed,
            )

        def outside(field: str, measured: str, *, also_runs: bool = False) -> Outside:
            def record(state: FrontState, loss: Float[Array, " P"]) -> FrontState:
                return state._replace(**{measured: getattr(state, measured)._replace(loss=loss)})

            return Outside(attrgetter(field), record, also_runs)

        work = size * batch_size
        costs = (work, 0) if guided else (0, work)
        given = outside("offspring", "offspring_measured", also_runs=guided)
        judging = Stage(evaluate_offspring, 1, *costs, sequential_steps=1, outside=given)
        # At the same time as the offspring, so no further sequential step.
        given = outside("params", "parent_measured")
        judge_parents = Stage(evaluate_parents, 1, 0, work, outside=given)
        ending = judging, *([] if stale_parents else [judge_parents]), Stage(select)
        refining = Stage(refine_offspring, steps, steps * work, sequential_steps=steps)
        refined = Stage(breed), *([refining] if refine else []), *ending

        def plan(generation: int) -> tuple[Stage, ...]:
            if generation == 0:
                return judging, Stage(select)
            return (Stage(breed), *ending) if generation % interval else refined

        return plan

    def check(population: Any, data: Data) -> None:
        check_genes(population)
        gradient_fn = value_and_grad if guided or refine else None
        check_loss(loss_fn, gradient_fn, population, data, batch_size)
        if refine:
            check_optimizer(refine.optimizer, population)
        check_operators(crossover, mutation, hyper_mutation, population, guided=guided)
        check_bound(crossover, population)
        check_objectives(objectives, population)

    return Algorithm(init, stages, check)
