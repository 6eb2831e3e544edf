"""A genetic algorithm whose survivors learn by gradient descent.

Source: David & Greental, "Genetic Algorithms for Evolving Deep Neural Networks", arXiv 1711.07655.
"""

from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from gajax import breeding, evaluation, gradients, sharding, types
from gajax import context as contexts
from gajax import population as populations
from gajax.checks import check_bound, check_operators, check_training
from gajax.context import Loss, Measured
from gajax.individual import genes_of, with_genes
from gajax.operators import crossover as crossovers
from gajax.operators import mutation as mutations
from gajax.operators import selection as selections
from gajax.survivors import eligible_parents, layout, survival_order
from gajax.types import Algorithm, Data, Optimizer, Outside, Params, Plan, Stage

NO_STEPS = optax.identity()
"""The optimiser of individuals that do not learn."""

ZERO_ONE_PERCENT = partial(mutations.zero, rate=0.01)
"""The mutation of the published method."""


class GAState(NamedTuple):
    """The survivors stand first, the best of them at index 0.

    Within a mesh, every device's share of the survivors stands first in its share of all.

    Attributes:
      params: the individuals, [P, ...].
      optimizer_state: that of each, [P, ...]; meaningless for one that has not survived.
      loss: of the last scoring, [P].
      metrics: likewise, a dict of [P].
      total: sums over the batches of this training, or means so far of this scoring.
      is_child: whether a survivor was born in this generation, [P].
      rank: of the individual at each position, which depends on the number of devices, [P].
      failed: individuals whose loss or genes are not finite, [].

    Example:
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=0)
      >>> algorithm = gajax.ga(lambda w, x: (x @ w).mean(), survivors=2, batch_size=4)
      >>> state = gajax.state_shapes(algorithm, 0, jnp.ones((5, 2)), data)
      >>> state.params.shape, state.loss.shape, state.is_child.dtype
      ((5, 2), (5,), dtype('bool'))
    """

    params: Any
    optimizer_state: Any
    loss: Float[Array, " P"]
    metrics: dict[str, Float[Array, " P"]]
    total: Measured
    is_child: Bool[Array, " P"]
    rank: Int[Array, " P"]
    failed: Int[Array, ""]


@types.cached
def ga(
    loss_fn: Loss | None,
    *,
    optimizer: Optimizer = NO_STEPS,
    survivors: int,
    batch_size: int,
    epochs: int = 1,
    batches: int | None = None,
    own_orders: bool = False,
    parents: int = 2,
    crossover: Callable[..., tuple[Params, ...]] = crossovers.uniform,
    mutation: Callable[..., Params] = ZERO_ONE_PERCENT,
    hyper_mutation: Callable[..., Any] = mutations.scale,
    selection: Callable[..., Int[Array, " S"]] = selections.truncation,
    fresh_optimizer: bool = False,
    cross_optimizer: bool = False,
    score_examples: int | None = None,
    value_and_grad: Loss | None = None,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm; its population has more than `survivors` individuals.

    Generation 0 scores and ranks the initial population. Each later one trains the survivors for
    `epochs` passes over the data, or for `batches` batches, fills the other places with their
    children, and scores and ranks all on the first `score_examples` examples (None: all).
    `selection` decides who survives. Individuals with a non-finite loss or gene are neither
    survivors nor parents while there are others.

    Groups of `parents` different survivors, drawn uniformly, have one child per parent, by
    `crossover(key, *parents)` and then mutation. Groups have two parents, or any number for
    `gajax.crossover.mean`. All survivors see the same batches; with `own_orders` each sees batches
    of its own, which makes the mean of relatives better than they are.

    Without a loss no individual learns, and `gajax.tell` gives the losses that rank them. With one,
    the survivors learn by it, and `gajax.tell` may still give other losses to rank by.

    The first child inherits the first parent's optimiser state, the second the second's and so on,
    so that moments and schedules go on. With `cross_optimizer` the crossover gets the optimiser
    states of the parents behind their genes, which means need; with `fresh_optimizer` all start
    each generation with a new one, as in the original.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params - 1) ** 2)
      >>> data = gajax.Data(jax.random.normal(jax.random.key(0), (64, 4)), order_key=0)
      >>> population = gajax.init(1, lambda key: jax.random.normal(key, (4,)), size=8)
      >>> algorithm = gajax.ga(loss_fn, optimizer=optax.sgd(0.1), survivors=4, batch_size=16)
      >>> for state, info in gajax.evolve(algorithm, 2, population, data, generations=2):
      ...     print(info.generation, info.loss.shape, info.sequential_steps)
      0 (8,) 1
      1 (8,) 5
      2 (8,) 5
    """
    value_and_grad = value_and_grad or contexts.value_and_grad(loss_fn)
    types.require_at_least(1, survivors=survivors, epochs=epochs, score_examples=score_examples)
    types.require_at_least(1, batches=batches, parents=parents, chunk_size=chunk_size)
    learn = partial(gradients.gradient_steps, value_and_grad, optimizer, chunk_size=chunk_size)
    operators = breeding.of_individuals(crossover, mutation, hyper_mutation)
    cross_individuals, mutate_individual = operators

    def cross(key: Key[Array, ""], *parents: tuple[Any, Any]) -> tuple[tuple[Any, Any], ...]:
        """The children, and what their optimisers start with."""
        individuals, states = zip(*parents, strict=True)
        if not cross_optimizer:
            return tuple(zip(cross_individuals(key, *individuals), states, strict=True))
        trees = zip(map(genes_of, individuals), states, strict=True)
        genes, states = zip(*crossover(key, *trees), strict=True)
        return tuple(zip(map(with_genes, individuals, genes), states, strict=True))

    def mutate(key: Key[Array, ""], child: tuple[Any, Any]) -> tuple[Any, Any]:
        return mutate_individual(key, child[0]), child[1]

    def keys_of(key: Key[Array, ""], size: int) -> Key[Array, " P"] | None:
        """A key for each position, that of its rank, so that devices change none."""
        keys = contexts.keys_of(loss_fn, key, size)
        return None if keys is None else keys[layout(size, survivors)[1]]

    def init(key: Key[Array, ""], population: Any, data: Data) -> GAState:
        size = populations.size(population)
        stages(size, evaluation.example_count(data))
        total = evaluation.no_total(loss_fn, population, data, batch_size)
        _, rank_at_position = layout(size, survivors)
        if sharding.device_count() > 1:  # so that equal losses rank as on one device
            population = sharding.take((population,), rank_at_position)
        return GAState(
            params=population,
            optimizer_state=gradients.init_optimizer(optimizer, population),
            loss=jnp.full(size, jnp.inf, float),
            metrics=total.metrics,
            total=evaluation.zero(total),
            is_child=jnp.zeros(size, bool),
            rank=rank_at_position,
            failed=jnp.int32(0),
        )

    @cache
    def stages(size: int, examples: int) -> Plan:
        if survivors >= size:
            raise ValueError(f"survivors must be from 1 to {size - 1}, not {survivors}")
        types.require_batch_size(batch_size, examples)
        count = batches or epochs * (examples // batch_size)
        scored = min(score_examples or examples, examples)

        def orders(data: Data, first: Int[Array, ""], rank: Int[Array, " S"]) -> Array:
            order = partial(evaluation.batch_order, data, first, count, batch_size=batch_size)
            if not own_orders:
                return order()
            return jax.vmap(lambda rank: order(sequence=rank, sequences=survivors))(rank)

        def train(key, state: GAState, data: Data, generation, start, stop) -> GAState:
            individuals = state.params, state.optimizer_state, state.total
            given = *individuals, keys_of(key, size), layout(size, survivors)[1]
            params, optimizer_state, total, keys, rank = sharding.first(given, survivors)
            order = orders(data, (generation - 1) * count, rank)
            options = {"keys": keys, "total": total}
            trained = learn(params, optimizer_state, data, order, start, stop, **options)
            params, optimizer_state, total = sharding.replace_first(individuals, trained)
            return state._replace(params=params, optimizer_state=optimizer_state, total=total)

        def breed(key, state: GAState, data: Data, generation, start, stop) -> GAState:
            key_parents, key_children = jax.random.split(key)
            children = size - survivors
            health = state.params, state.total.loss, state.loss
            positions, eligible = eligible_parents(*health, survivors)
            drawn = breeding.draw_parents(
                key_parents, eligible, -(-children // parents), parents, survivors
            )
            groups = [positions[indices] for indices in drawn]
            parents_of = state.params, None if fresh_optimizer else state.optimizer_state
            produce = partial(breeding.breed, cross, mutate, chunk_size=chunk_size)
            born, inherited = produce(key_children, parents_of, groups, children)
            params = sharding.replace_last(state.params, born)
            if fresh_optimizer:
                optimizer_state = gradients.init_optimizer(optimizer, params)
            else:
                optimizer_state = sharding.replace_last(state.optimizer_state, inherited)
            total = evaluation.zero(state.total)
            return state._replace(params=params, optimizer_state=optimizer_state, total=total)

        def score(key, state: GAState, data: Data, generation, start, stop) -> GAState:
            keys = keys_of(key, size)
            options = {"keys": keys, "total": state.total, "chunk_size": chunk_size}
            scores = partial(evaluation.score, loss_fn, examples=scored, **options)
            return state._replace(total=scores(state.params, data, start, stop))

        def rank(key, state: GAState, data: Data, generation, start, stop) -> GAState:
            position_of_rank, rank_at_position = layout(size, survivors)
            loss, metrics = populations.take(sharding.replicate(state.total), position_of_rank)
            order = survival_order(loss, selection(key, loss, survivors))
            is_survivor = jnp.arange(size) < survivors
            is_child = is_survivor & (order >= survivors) & (generation > 0)
            order = order[rank_at_position]
            surviving = position_of_rank[order][jnp.sort(position_of_rank[:survivors])]
            optimizer_state = sharding.take((state.optimizer_state,), surviving)
            return GAState(
                params=sharding.take((state.params,), position_of_rank[order]),
                optimizer_state=sharding.replace_first(state.optimizer_state, optimizer_state),
                loss=loss[order],
                metrics=populations.take(metrics, order),
                total=evaluation.zero(state.total),
                is_child=is_child[rank_at_position],
                rank=rank_at_position,
                failed=evaluation.failures(loss),
            )

        def record(state: GAState, loss: Float[Array, " P"]) -> GAState:
            return state._replace(total=sharding.place(state.total._replace(loss=loss)))

        trained = count * survivors * batch_size
        training = Stage(train, count, trained, sequential_steps=count)
        outside = Outside(attrgetter("params"), record)
        costs = evaluation.score_batches(scored), 0, size * scored, 1
        scoring = Stage(score, *costs, outside=outside), Stage(rank)
        later = (*([training] if loss_fn else []), Stage(breed), *scoring)
        return lambda generation: later if generation else scoring

    def check(population: Any, data: Data) -> None:
        check_training(loss_fn, value_and_grad, optimizer, population, data, batch_size)
        check_operators(crossover, mutation, hyper_mutation, population, parents=parents)
        check_bound(crossover, population)

    def arrange(state: GAState) -> GAState:
        _, rank_at_position = layout(len(state.loss), survivors)
        before = sharding.gather(state.rank)
        if np.array_equal(before, rank_at_position):
            return state
        individuals = state._replace(failed=None)  # the others are one for each
        order = jnp.argsort(before)[rank_at_position]
        return populations.take(individuals, order)._replace(failed=state.failed)

    return Algorithm(init, stages, check, arrange)
