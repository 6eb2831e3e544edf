"""Gradual magnitude pruning of one network, with and without regrowth: a front from one run.

Sources: Zhu & Gupta, "To prune, or not to prune", arXiv 1710.01878; for regrowth by gradient, Evci
et al., "Rigging the Lottery", arXiv 1911.11134.
"""

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from gajax import context as contexts
from gajax import evaluation, gradients, individual, sparsity, types
from gajax import population as populations
from gajax.checks import check_training
from gajax.context import Loss, Measured
from gajax.individual import genes_of, with_genes
from gajax.types import Algorithm, Data, Params, Stage


class Move(NamedTuple):
    """A generation: what is pruned and grown at its beginning, and its batches.

    Attributes:
      row: index of the density in the schedule.
      start: the first batch, counted from 0; where weights grow, the one that chooses them.
      stop: the batch behind the last one.
      density: share of the weights that are left after the move.
      grow: share of these that grow; the others are those of largest magnitude.
    """

    row: int
    start: int
    stop: int
    density: float
    grow: float = 0


class PruningState(NamedTuple):
    """There are K individuals, one for each density of the schedule, in its order.

    Attributes:
      params: the network at the end of each density or, until then, as it is now, [K, ...].
      loss: mean over the batches of the last generation that each was trained in, [K].
      metrics: likewise, a dict of [K].
      network: what is trained, [1, ...].
      alive: false for pruned weights, [1, ...].
      optimizer_state: that of the network, [1, ...].
      average: of its genes over batches, [1, ...]; None without one.
      total: sums over the batches of this generation.
      failed: individuals whose loss or genes are not finite, [].

    Example:
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=0)
      >>> moves = gajax.pruning_moves([(1.0, 4), (0.5, 4), (0.25, 4)])
      >>> settings = {"optimizer": optax.sgd(0.1), "batch_size": 4, "moves": moves}
      >>> algorithm = gajax.pruning(lambda w, x: (x @ w).mean(), **settings)
      >>> gajax.state_shapes(algorithm, 0, jnp.ones((1, 2)), data).params.shape
      (3, 2)
    """

    params: Any
    loss: Float[Array, " K"]
    metrics: dict[str, Float[Array, " K"]]
    network: Any
    alive: PyTree[Bool[Array, "..."]]
    optimizer_state: Any
    average: Any
    total: Measured
    failed: Int[Array, ""]


def pruning_moves(
    schedule: Sequence[tuple[float, int]], *, regrow: float = 0.0, interval: int | float = 250
) -> tuple[Move, ...]:
    """A move for each of the generations 1, 2, ... from rows of a density and its batches.

    A density is reached in two moves, half of its batches apart, the first one to the geometric
    mean with the density before. With `regrow` it is reached in one move, and then weights are
    exchanged about every `interval` batches: they grow as a share of the weights that falls
    linearly from `regrow` to 0 over the batches of a density.

    Example:
      >>> for move in gajax.pruning_moves([(1.0, 100), (0.25, 50)]):
      ...     print(move.start, move.stop, move.density)
      0 100 1.0
      100 125 0.5
      125 150 0.25
      >>> moves = gajax.pruning_moves([(1.0, 9), (0.25, 40)], regrow=0.2, interval=20)
      >>> [move.grow for move in moves]
      [0, 0.2, 0.1]
    """
    (before, stop), *rest = schedule
    moves = [Move(0, 0, stop, before)]
    for row, (density, batches) in enumerate(rest, 1):
        shares = [(math.sqrt(before * density), 0.0), (density, 0.0)]
        if regrow:  # a batch to choose by and another one to train on
            count = max(1, min(round(batches / interval), batches // 2))
            shares = [(density, regrow * (1 - i / count)) for i in range(count)]
        bounds = [stop + batches * i // len(shares) for i in range(len(shares) + 1)]
        for start, end, share in zip(bounds, bounds[1:], shares, strict=False):
            moves.append(Move(row, start, end, *share))
        before, stop = density, bounds[-1]
    return tuple(moves)


@types.cached
def pruning(
    loss_fn: Loss,
    *,
    optimizer: types.Optimizer,
    batch_size: int,
    moves: tuple[Move, ...],
    average: float = 0.0,
    value_and_grad: Loss | None = None,
    may_be_zero: types.LeafPredicate = individual.all_but_biases,
) -> Algorithm:
    """Make the algorithm, which trains a population of one network and ends with the last move.

    `moves` are those of `pruning_moves`, one for each generation. A move keeps the weights of
    largest magnitude in all leaves together. Those that grow are the pruned ones that the optimiser
    would move most, on a batch that is used for nothing else and counted as any other; they start
    at zero. Moments take in the gradients of all weights, but only those that are kept move. With
    `average`, the network of a density is the exponential average of its genes, with this decay
    after each batch, which has a lower loss where learning rates are high; training goes on from
    the genes themselves.

    Weights are the genes of the leaves that `may_be_zero` names, and the densities of the moves are
    shares of the weights alone, where `gajax.density` counts all genes.

    Raises:
      ValueError: where the population has not one individual, a number is out of its range, a
        move has no batch to train on, or a density is not in (0, 1] or above the one before.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params["kernel"] - 1) ** 2)
      >>> data = gajax.Data(jax.random.normal(jax.random.key(0), (64, 4)), order_key=0)
      >>> network = gajax.init(1, lambda key: {"kernel": jax.random.normal(key, (4,))}, size=1)
      >>> moves = gajax.pruning_moves([(1.0, 4), (0.5, 4)])
      >>> algorithm = gajax.pruning(loss_fn, optimizer=optax.sgd(0.1), batch_size=16, moves=moves)
      >>> for state, info in gajax.evolve(algorithm, 2, network, data):
      ...     pass
      >>> gajax.density(state.params).tolist()  # the network at each density of the schedule
      [1.0, 0.5]
    """
    value_and_grad = value_and_grad or contexts.value_and_grad(loss_fn)
    rows, starts, stops = np.array([move[:3] for move in moves]).T
    densities = np.array([1, *(move.density for move in moves)])
    firsts = starts + [move.grow > 0 for move in moves]  # the batches that are trained on
    if (firsts >= stops).any() or (starts[1:] != stops[:-1]).any():
        raise ValueError("moves must follow one another, each with a batch to train on")
    if not 0 <= average < 1:
        raise ValueError(f"average must be from 0 to below 1, not {average}")
    if (densities <= 0).any() or (np.diff(densities) > 0).any():
        raise ValueError("the densities of moves must be above 0 and fall from 1")
    longest = int((stops - firsts).max())
    learner = sparsity.of_alive(optimizer)
    if average:
        learner = _averaging(learner, average)
    learn = partial(gradients.gradient_steps, value_and_grad, learner)

    def weight_mask(genes: Params) -> PyTree[bool]:
        return individual.leaf_mask(populations.take(genes, 0), may_be_zero)

    def counts(genes: Params, generation: Any) -> Int[Array, "2"]:
        """Numbers of genes that are kept, those that are no weights included, and grown."""
        sizes = jax.tree.map(lambda leaf, may: may * leaf.size, genes, weight_mask(genes))
        weights = sum(jax.tree.leaves(sizes))
        left = [round(move.density * weights) for move in moves]
        grown = [round(move.grow * count) for move, count in zip(moves, left, strict=True)]
        kept = np.subtract(left, grown) + individual.genes(genes) - weights
        return jnp.array([kept, grown])[:, generation - 1]

    def init(key: Key[Array, ""], population: Any, data: Data) -> PruningState:
        stages(populations.size(population), evaluation.example_count(data))
        individuals = int(rows[-1]) + 1
        genes = genes_of(population)
        total = evaluation.no_total(loss_fn, population, data, batch_size)
        return PruningState(
            params=jax.tree.map(lambda leaf: jnp.repeat(leaf, individuals, axis=0), population),
            loss=jnp.full(individuals, jnp.inf, float),
            metrics={name: jnp.zeros(individuals) for name in total.metrics},
            network=population,
            alive=jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), genes),
            optimizer_state=gradients.init_optimizer(optimizer, population),
            average=genes if average else None,
            total=total,
            failed=jnp.int32(0),
        )

    def prune(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        genes = genes_of(state.network)
        kept = counts(genes, generation)[0]
        alive = sparsity.prune(genes, state.alive, weight_mask(genes), kept)
        network = with_genes(state.network, sparsity.keep(alive, genes))
        return state._replace(network=network, alive=alive)

    def regrow(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        first = jnp.asarray(starts)[generation - 1]
        order = evaluation.batch_order(data, first, 1, batch_size=batch_size)
        batch = evaluation.batch_at(data.examples, order, 0)
        network, optimizer_state = populations.take((state.network, state.optimizer_state), 0)
        setting = network, optimizer_state, batch, data.shared, key
        output, updates, _ = gradients.propose(value_and_grad, optimizer, *setting)
        updates = jax.tree.map(lambda leaf: leaf[None], updates)
        number = counts(genes_of(state.network), generation)[1]
        alive = sparsity.grow(state.alive, updates, number)
        total = contexts.add(state.total, output)
        return state._replace(alive=alive, total=total)

    def train(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        first = jnp.asarray(firsts)[generation - 1]
        order = evaluation.batch_order(data, first, longest, batch_size=batch_size)
        memory = state.alive, state.optimizer_state
        memory = (memory, state.average) if average else memory
        keys = contexts.keys_of(loss_fn, key, 1)
        trained = learn(
            state.network, memory, data, order, start, stop, keys=keys, total=state.total
        )
        network, memory, total = trained
        memory, averaged = memory if average else (memory, None)
        return state._replace(
            network=network, optimizer_state=memory[1], average=averaged, total=total
        )

    def record(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        is_trained = jnp.arange(len(state.loss)) >= jnp.asarray(rows)[generation - 1]
        batches = jnp.asarray(stops - starts)[generation - 1]
        mean = jax.tree.map(lambda total: total / batches, state.total)
        network = state.network
        if average:
            network = with_genes(network, sparsity.keep(state.alive, state.average))
        new, old = (network, *mean), (state.params, state.loss, state.metrics)
        params, loss, metrics = populations.where(is_trained, new, old)
        return state._replace(
            params=params,
            loss=loss,
            metrics=metrics,
            total=evaluation.zero(state.total),
            failed=evaluation.failures(loss),
        )

    def stages_of(move: Move) -> tuple[Stage, ...]:
        pruned = (Stage(prune),) if move.density < 1 else ()
        grown = (Stage(regrow, 1, batch_size, sequential_steps=1),) if move.grow else ()
        steps = move.stop - move.start - len(grown)
        return *pruned, *grown, Stage(train, steps, steps * batch_size, 0, steps), Stage(record)

    plans = (), *map(stages_of, moves)

    @cache
    def stages(size: int, examples: int) -> types.Plan:
        types.require_batch_size(batch_size, examples)
        if size != 1:
            raise ValueError(f"the population must be one individual to prune, not {size}")
        return lambda generation: plans[generation] if generation < len(plans) else ()

    def check(population: Any, data: Data) -> None:
        check_training(loss_fn, value_and_grad, optimizer, population, data, batch_size)
        weight_mask(genes_of(population))

    return Algorithm(init, stages, check)


def _averaging(optimizer: types.Optimizer, decay: float) -> types.Optimizer:
    """The optimiser, for a state that is a pair of its own and of an average of the genes."""

    def averaged(inner: optax.GradientTransformation) -> optax.GradientTransformation:
        inner = optax.with_extra_args_support(inner)

        def update(updates: Params, state: Any, params: Any = None, **extra: Any) -> Any:
            inner_state, average = state
            updates, inner_state = inner.update(updates, inner_state, params, **extra)
            genes = optax.apply_updates(params, updates)
            average = optax.incremental_update(genes, average, 1 - decay)
            return updates, (inner_state, average)

        return optax.GradientTransformationExtraArgs(inner.init, update)

    if isinstance(optimizer, optax.GradientTransformation):
        return averaged(optimizer)
    return lambda hyper: averaged(optimizer(hyper))
