"""GEMONN with a density for each individual: a front from relatives on a ladder of densities.

The objectives, the gradient steps of the sparse children and the survival of the best are those of
Yang et al., IEEE TNNLS 33(9). In place of simulated binary crossover the means of neighbours in
density are taken (Wortsman et al., "Model soups", arXiv 2203.05482), and in place of zero mutation
the genes of smallest magnitude give way to those that the optimiser would move most (with plain
gradient descent, Evci et al., "Rigging the Lottery", arXiv 1911.11134).
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from gajax import context as contexts
from gajax import evaluation, gradients, individual, sharding, sparsity, types
from gajax import population as populations
from gajax.checks import check_training
from gajax.context import Loss, Measured
from gajax.individual import Individual, genes_of, with_genes
from gajax.operators import mutation
from gajax.operators.crossover import weighted_mean
from gajax.types import Algorithm, Data, Optimizer, Plan, Stage

_JUDGED = 2  # batches that parents and children compete on


class LadderState(NamedTuple):
    """The individuals stand in the order of the densities of the ladder.

    Attributes:
      params: the individuals, [P, ...].
      optimizer_state: that of each, [P, ...].
      loss: on the examples that decided in the last generation, [P].
      metrics: likewise, a dict of [P].
      objectives: the density, a dict of [P].
      offspring: the children of this generation, [P, ...].
      offspring_state: the optimiser states of these, [P, ...].
      alive: the genes of the offspring that may differ from zero, [P, ...].
      offspring_measured: losses and metrics of the offspring.
      parent_measured: those of the parents.
      failed: offspring whose loss or genes are not finite, [].

    Example:
      >>> data = gajax.Data(jnp.ones((12, 2)), order_key=0)
      >>> settings = {"optimizer": optax.sgd(0.1), "batch_size": 4, "generations": 1}
      >>> algorithm = gajax.ladder(lambda w, x: (x @ w).mean(), densities=(1.0, 0.5), **settings)
      >>> state = gajax.state_shapes(algorithm, 0, jnp.ones((1, 2)), data)
      >>> state.params.shape, state.objectives["density"].shape
      ((2, 2), (2,))
    """

    params: Any
    optimizer_state: Any
    loss: Float[Array, " P"]
    metrics: dict[str, Float[Array, " P"]]
    objectives: dict[str, Float[Array, " P"]]
    offspring: Any
    offspring_state: Any
    alive: PyTree[Bool[Array, "P ..."]]
    offspring_measured: Measured
    parent_measured: Measured
    failed: Int[Array, ""]


@types.cached
def ladder(
    loss_fn: Loss,
    *,
    densities: tuple[float | int, ...],
    optimizer: Optimizer,
    batch_size: int,
    generations: int,
    steps: int = 20,
    grow: float | int = 0.1,
    start: float | int = 1,
    reach: tuple[float | int, float | int] = (0.5, 0.2),
    mixing: float | int = 0.5,
    hyper_mutation: Callable[..., Any] = mutation.scale,
    competes: bool = True,
    value_and_grad: Loss | None = None,
    may_be_zero: types.LeafPredicate = individual.all_but_biases,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm; its population is one individual, the ancestor of all, or P copies of it.

    Individual i keeps the share `densities[i]` of the weights, the genes of the leaves that
    `may_be_zero` names. All start with the share `start`; it falls as in Zhu & Gupta (arXiv
    1710.01878) and is reached after a part of the generations, from `reach[0]` for the first to
    `reach[1]` for the last individual, evenly spaced. The algorithm ends after `generations`.

    In a generation every individual has one child: itself, or in every second generation the
    weighted mean of itself and a neighbour on the ladder, which has the weight `mixing`, optimiser
    states included. The smallest weights of the child become zero, and a part of the others, `grow`
    at first and falling to 0, gives way to those that the optimiser would move most. The child
    takes `steps` gradient steps on batches of its own, under which zeros stay zero whatever the
    optimiser, while its moments take in the gradients of all weights. Then the best of all parents
    and children that are not denser survives at each density, judged on two batches from which no
    child has learned; without `competes` each child replaces its parent.

    Raises:
      ValueError: where a density is not in (0, 1], or a number is out of its range.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((jnp.tanh(batch @ params) @ params.T - batch) ** 2)
      >>> data = gajax.Data(jax.random.normal(jax.random.key(0), (64, 4)), order_key=0)
      >>> ancestor = gajax.init(1, lambda key: jax.random.normal(key, (4, 2)), size=1)
      >>> algorithm = gajax.ladder(
      ...     loss_fn,
      ...     densities=(0.75, 0.5, 0.25),
      ...     optimizer=optax.adam(0.01),
      ...     batch_size=8,
      ...     generations=4,
      ...     steps=2,
      ... )
      >>> for state, info in gajax.evolve(algorithm, 2, ancestor, data, together=4):
      ...     pass
      >>> bool((state.objectives["density"] <= jnp.array([0.75, 0.5, 0.25])).all())
      True
    """
    value_and_grad = value_and_grad or contexts.value_and_grad(loss_fn)
    types.require_at_least(1, generations=generations, steps=steps, chunk_size=chunk_size)
    if not densities or not all(0 < density <= start for density in densities):
        raise ValueError(f"densities must be above 0 and at most {start}, not {densities}")
    if not isinstance(reach, tuple) or len(reach) != 2:
        raise ValueError(f"reach must be a pair of numbers, not {reach}")
    shares = {"start": start, "grow": grow, "mixing": mixing}
    shares |= {f"reach[{i}]": value for i, value in enumerate(reach)}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1, not {value}")
    count = len(densities)
    learn = partial(gradients.gradient_steps, value_and_grad, sparsity.of_alive(optimizer))

    def counts(population: Any, generation: Int[Array, ""]) -> tuple[Array, Array]:
        """Numbers of genes that each individual has, other leaves included, and that may grow."""
        genes = populations.take(genes_of(population), 0)
        mask = individual.leaf_mask(genes, may_be_zero)
        sizes = jax.tree.map(lambda leaf, may: may * leaf.size, genes, mask)
        weights = sum(jax.tree.leaves(sizes))
        falling = jnp.maximum(1, jnp.linspace(*reach, count) * generations)
        left = jnp.clip(1 - generation / falling, 0) ** 3
        share = jnp.array(densities) * (1 - left) + start * left
        # An optimiser that has seen no batch has no preference.
        may_grow = (share < 1) & (generation > 1)
        part = jnp.where(may_grow, grow * (1 - (generation - 1) / generations), 0)
        whole = jnp.round(share * weights).astype(jnp.int32)
        grown = jnp.round(part * share * weights).astype(jnp.int32)
        return whole + individual.genes(genes) - weights, grown

    def init(key, population: Any, data: Data) -> LadderState:
        size = populations.size(population)
        stages(size, evaluation.example_count(data))
        if size < count:
            population = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), population)
            population = sharding.place(population)
        total = evaluation.no_total(loss_fn, population, data, batch_size)
        measured = total._replace(loss=jnp.full(count, jnp.inf, float))
        optimizer_state = gradients.init_optimizer(optimizer, population)
        alive = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), genes_of(population))
        return LadderState(
            params=population,
            optimizer_state=optimizer_state,
            loss=measured.loss,
            metrics=measured.metrics,
            objectives={"density": sharding.replicate(populations.density(population))},
            offspring=population,
            offspring_state=optimizer_state,
            alive=sharding.place(alive),
            offspring_measured=measured,
            parent_measured=measured,
            failed=jnp.int32(0),
        )

    @cache
    def stages(size: int, examples: int) -> Plan:
        if size not in (1, count):
            raise ValueError(f"the population must be 1 or {count} individuals, not {size}")
        types.require_batch_size(batch_size, examples // (_JUDGED + 1))
        per_epoch = examples // batch_size
        needed = min(per_epoch, _JUDGED + count * (1 + steps))

        def orders(data: Data, generation: Int[Array, ""]) -> tuple[Array, Array]:
            """The examples that judge, and the batches of each child, from the same epoch."""
            epoch, index = jnp.divmod(generation - 1, per_epoch // needed)
            first = epoch * per_epoch + index * needed
            order = evaluation.batch_order(data, first, needed, batch_size=batch_size)
            batches = jnp.arange(count * (1 + steps)) % (needed - _JUDGED)
            own = order[_JUDGED:][batches].reshape(count, 1 + steps, batch_size)
            return order[:_JUDGED].reshape(1, -1), own

        def breed(key, state: LadderState, data: Data, generation, start, stop) -> LadderState:
            here = jnp.arange(count)
            side = 2 * jax.random.bernoulli(key, shape=(count,)).astype(jnp.int32) - 1
            partner = jnp.clip(here + jnp.where(generation % 2, 0, side), 0, count - 1)
            parents = state.params, state.optimizer_state
            partners = sharding.take((parents,), partner)
            children = weighted_mean((1 - mixing, mixing), parents, partners)
            whole, grown = counts(state.params, generation)

            def prune(child: tuple[Any, Array]) -> tuple[Any, Any]:
                genes, kept = child
                mask = individual.leaf_mask(genes, may_be_zero)
                alive = jax.tree.map(lambda leaf, may: (leaf != 0) | (not may), genes, mask)
                alive = sparsity.prune(genes, alive, mask, kept)
                return sparsity.keep(alive, genes), alive

            pruned = genes_of(children[0]), whole - grown
            genes, alive = populations.map_individuals(prune, pruned, chunk_size=chunk_size)
            offspring = with_genes(children[0], genes)
            if isinstance(offspring, Individual) and jax.tree.leaves(offspring.hyper):
                keys = jax.random.split(jax.random.fold_in(key, 1), count)
                offspring = offspring._replace(
                    hyper=jax.vmap(hyper_mutation)(keys, offspring.hyper)
                )
            return state._replace(offspring=offspring, offspring_state=children[1], alive=alive)

        def regrow(key, state: LadderState, data: Data, generation, start, stop) -> LadderState:
            _, own = orders(data, generation)
            whole, _ = counts(state.params, generation)
            keys = contexts.keys_of(loss_fn, key, count)

            def one(child: tuple[Any, ...], examples: Any, shared: Any) -> Any:
                individual, optimizer_state, alive, order, key, whole = child
                batch = evaluation.batch_at(examples, order, 0)
                setting = individual, optimizer_state, batch, shared, key
                _, updates, _ = gradients.propose(value_and_grad, optimizer, *setting)
                return sparsity.grow(alive, updates, whole - sparsity.count(alive))

            children = state.offspring, state.offspring_state, state.alive, own, keys, whole
            common = data.examples, data.shared
            alive = populations.map_individuals(one, children, *common, chunk_size=chunk_size)
            return state._replace(alive=alive)

        def train(key, state: LadderState, data: Data, generation, start, stop) -> LadderState:
            _, own = orders(data, generation)
            memory = state.alive, state.offspring_state
            options = {"keys": contexts.keys_of(loss_fn, key, count), "chunk_size": chunk_size}
            setting = state.offspring, memory, data, own[:, 1:], start, stop
            offspring, (_, offspring_state), _ = learn(*setting, **options)
            return state._replace(offspring=offspring, offspring_state=offspring_state)

        def judge(key, population: Any, data: Data, generation) -> Measured:
            order, _ = orders(data, generation)
            batch = evaluation.batch_at(data.examples, order, 0)
            options = {"keys": contexts.keys_of(loss_fn, key, count), "chunk_size": chunk_size}
            judged = partial(evaluation.batch_losses, loss_fn, population, batch, data.shared)
            return sharding.replicate(judged(**options)[0])

        def evaluate_offspring(key, state: LadderState, data: Data, generation, start, stop):
            return state._replace(offspring_measured=judge(key, state.offspring, data, generation))

        def evaluate_parents(key, state: LadderState, data: Data, generation, start, stop):
            return state._replace(parent_measured=judge(key, state.params, data, generation))

        def select(key, state: LadderState, data: Data, generation, start, stop) -> LadderState:
            measured = state.parent_measured, state.offspring_measured
            loss = jnp.concatenate([one.loss for one in measured])
            density = sharding.replicate(populations.density(state.offspring))
            density = jnp.concatenate([state.objectives["density"], density])
            highest, _ = counts(state.params, generation)
            genes = individual.genes(populations.take(genes_of(state.params), 0))
            # Half a gene more, so that no rounding leaves out a child of this very density.
            fits = density[None] * genes < highest[:, None] + 0.5
            eligible = jnp.where(fits & jnp.isfinite(loss)[None], loss[None], jnp.inf)
            child = count + jnp.arange(count)
            is_any = jnp.isfinite(eligible).any(axis=1)
            chosen = jnp.where(is_any, jnp.argmin(eligible, axis=1), child) if competes else child
            parents = state.params, state.optimizer_state, measured[0].metrics
            offspring = state.offspring, state.offspring_state, measured[1].metrics
            params, optimizer_state, metrics = sharding.take((parents, offspring), chosen)
            return state._replace(
                params=params,
                optimizer_state=optimizer_state,
                loss=loss[chosen],
                metrics=sharding.replicate(metrics),
                objectives={"density": density[chosen]},
                failed=evaluation.failures(loss[count:]),
            )

        batch, judged = count * batch_size, count * _JUDGED * batch_size
        plan = (
            Stage(breed),
            Stage(regrow, 1, batch, sequential_steps=1),
            Stage(train, steps, steps * batch, sequential_steps=steps),
            # Parents and children are judged at the same time, in one sequential step.
            Stage(evaluate_offspring, 1, 0, judged, 1),
            *([Stage(evaluate_parents, 1, 0, judged)] if competes else []),
            Stage(select),
        )
        return lambda generation: plan if 1 <= generation <= generations else ()

    def check(population: Any, data: Data) -> None:
        check_training(loss_fn, value_and_grad, optimizer, population, data, batch_size)
        individual.leaf_mask(populations.take(genes_of(population), 0), may_be_zero)

    return Algorithm(init, stages, check)
