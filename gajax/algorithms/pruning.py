"""Gradual magnitude pruning of one network, with and without regrowth: a front from one run.

Sources: Zhu & Gupta, "To prune, or not to prune", arXiv 1710.01878; for regrowth by gradient, Evci
et al., "Rigging the Lottery", arXiv 1911.11134.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from gajax import evaluation, types
from gajax import population as populations
from gajax.types import Algorithm, Data, Params, Stage

Schedule = Sequence[tuple[float, int]]
"""Densities, falling from 1, and the batches that each of them gets."""

PRUNING: Schedule = (
    (1.0, 4000),
    *((density, 1750) for density in (0.5, 0.3, 0.2, 0.15, 0.11, 0.08)),
    *((density, 1750) for density in (0.05, 0.03, 0.02, 0.01, 0.005, 0.002)),
)
REGROWTH: Schedule = (
    (1.0, 2500),
    *((0.3, 1500), (0.2, 1500), (0.1, 1500), (0.05, 2000), (0.03, 2000), (0.02, 2500)),
    *((0.01, 3000), (0.007, 2500), (0.005, 2500), (0.0035, 2000), (0.002, 1500)),
)
REGROWTH_INTERVAL = 250  # batches between two moves where a run is as long as its schedule
REGROWTH_SHARE = 0.2  # of the weights, what a density's first move lets grow; falls linearly to 0
FEWEST = 4  # batches of a density


class Move(NamedTuple):
    """What is pruned and grown at the beginning of a generation, and its batches.

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
    """There are K individuals, one for each density of the schedule, in its order."""

    params: Params  # [K, ...], the network at the end of its density or, until then, as it is now
    loss: Float[Array, " K"]  # mean over the batches of the last generation it was trained in
    network: Params  # [1, ...], what is trained
    alive: PyTree[Bool[Array, "..."]]  # [1, ...], false for pruned weights
    optimizer_state: Any  # [1, ...]
    total: Float[Array, " 1"]  # sum of the losses of the batches of this generation
    failed: Int[Array, ""]


def pruning_moves(batches: int, schedule: Schedule = PRUNING) -> tuple[Move, ...]:
    """A move for each of the generations 1, 2, ... of a run of that many batches.

    The lengths of the schedule are scaled to it, with `FEWEST` batches or more for each density.
    A density is reached in two steps, half of its batches apart, the first one to the geometric
    mean with the density before. ValueError where there are fewer batches than that, or the
    densities do not fall from 1.
    """
    return _moves(batches, schedule, lambda at, to, _: [(math.sqrt(at * to), 0), (to, 0)])


def regrowth_moves(batches: int, schedule: Schedule = REGROWTH) -> tuple[Move, ...]:
    """As `pruning_moves`, for weights that may grow back.

    A density is reached in one step, and then weights are exchanged, every `REGROWTH_INTERVAL`
    batches in the scale of the schedule.
    """
    interval = max(2, batches / sum(length for _, length in schedule) * REGROWTH_INTERVAL)

    def steps(_: float, density: float, length: int) -> list[tuple[float, float]]:
        # Every move has a batch to choose by and another one to train on.
        count = min(max(1, round(length / interval)), length // 2)
        return [(density, REGROWTH_SHARE * (1 - i / count)) for i in range(count)]

    return _moves(batches, schedule, steps)


def _moves(batches: int, schedule: Schedule, steps: Callable[..., Any]) -> tuple[Move, ...]:
    """Moves from `steps(density before, density, batches) -> [(density, grow), ...]` of a row."""
    densities, lengths = (np.array(column) for column in zip(*schedule, strict=True))
    if densities[0] != 1 or (np.diff(densities) >= 0).any() or min(*densities, *lengths) <= 0:
        raise ValueError("schedule must have densities that fall from 1, and batches for each")
    types.require_at_least(FEWEST * len(lengths), batches=batches)
    lengths = np.maximum(FEWEST, np.round(batches / lengths.sum() * lengths)).astype(int)
    while excess := lengths.sum() - batches:
        lengths[np.argmax(lengths)] -= np.sign(excess)
    stops = np.cumsum(lengths).tolist()
    moves = [Move(0, 0, stops[0], 1.0)]
    for row, (start, stop) in enumerate(pairwise(stops), 1):
        shares = steps(*densities[row - 1 : row + 1].tolist(), stop - start)
        bounds = [start + (stop - start) * i // len(shares) for i in range(len(shares) + 1)]
        moves += [Move(row, *bounds[i : i + 2], *share) for i, share in enumerate(shares)]
    return tuple(moves)


@types.cached
def pruning(
    loss_fn: types.LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    moves: tuple[Move, ...],
    value_and_grad: types.ValueAndGrad | None = None,
    may_be_zero: types.LeafPredicate = populations.all_but_biases,
) -> Algorithm:
    """Make the algorithm, which trains a population of one network and ends with the last move.

    `moves` are `pruning_moves(batches)` or `regrowth_moves(batches)`, one for each generation. A
    move keeps the weights of largest magnitude in all leaves together. Those that grow have the
    largest gradients among the pruned ones, on a batch that is used for nothing else and counted
    as any other; they start at zero. Pruned weights enter neither the moments nor the updates.

    Weights are the genes of the leaves that `may_be_zero` names, and the densities of the moves are
    shares of the weights alone, where `gajax.density` counts all genes.

    Raises:
      ValueError: where the population has not one individual, a number is out of its range, or a
        move has no batch to train on.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)
    rows, starts, stops, *_ = np.array(moves).T.astype(int)
    firsts = starts + [move.grow > 0 for move in moves]  # the batches that are trained on
    if (firsts >= stops).any() or (starts[1:] != stops[:-1]).any():
        raise ValueError("moves must follow one another, each with a batch to train on")
    longest = int((stops - firsts).max())

    def weight_mask(network: Params) -> PyTree[bool]:
        return populations.leaf_mask(populations.take(network, 0), may_be_zero)

    def counts(network: Params, generation: Any) -> Int[Array, "2"]:
        """Numbers of genes that are kept, those that are no weights included, and grown."""
        sizes = jax.tree.map(lambda leaf, may: may * leaf.size, network, weight_mask(network))
        weights = sum(jax.tree.leaves(sizes))
        left = [round(move.density * weights) for move in moves]
        grown = [round(move.grow * count) for move, count in zip(moves, left, strict=True)]
        kept = np.subtract(left, grown) + populations.genes(network) - weights
        return jnp.array([kept, grown])[:, generation - 1]

    def init(key: Key[Array, ""], population: Params, data: Data) -> PruningState:
        stages(populations.size(population), evaluation.example_count(data))
        individuals = int(rows[-1]) + 1
        return PruningState(
            params=jax.tree.map(lambda leaf: jnp.repeat(leaf, individuals, axis=0), population),
            loss=jnp.full(individuals, jnp.inf, jnp.float32),
            network=population,
            alive=jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), population),
            optimizer_state=evaluation.map_individuals(optimizer.init, population),
            total=jnp.zeros(1),
            failed=jnp.int32(0),
        )

    def prune(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:

        def score(leaf: Array, is_alive: Array, is_weight: bool) -> Array:
            return jnp.where(is_alive, jnp.abs(leaf) if is_weight else jnp.inf, -1)

        scores = jax.tree.map(score, state.network, state.alive, weight_mask(state.network))
        alive = highest(scores, counts(state.network, generation)[0])
        return state._replace(network=_where(alive, state.network, 0), alive=alive)

    def regrow(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        first = jnp.asarray(starts)[generation - 1]
        order = evaluation.batch_order(data, first, 1, batch_size=batch_size)
        batch = evaluation.batch_at(data.examples, order, 0)
        loss, gradient = value_and_grad(populations.take(state.network, 0), batch, *data.shared)
        pruned = jax.tree.map(jnp.logical_not, state.alive)
        scores = _where(pruned, jax.tree.map(lambda leaf: jnp.abs(leaf)[None], gradient), -1)
        grown = highest(scores, counts(state.network, generation)[1])
        alive = jax.tree.map(jnp.logical_or, state.alive, grown)
        return state._replace(alive=alive, total=state.total + loss)

    def train(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        first = jnp.asarray(firsts)[generation - 1]
        network, (_, optimizer_state), total = evaluation.gradient_steps(
            value_and_grad,
            _of_alive(optimizer),
            state.network,
            (state.alive, state.optimizer_state),
            data,
            evaluation.batch_order(data, first, longest, batch_size=batch_size),
            start,
            stop,
            total=state.total,
        )
        return state._replace(network=network, optimizer_state=optimizer_state, total=total)

    def record(key, state: PruningState, data: Data, generation, start, stop) -> PruningState:
        is_trained = jnp.arange(len(state.loss)) >= jnp.asarray(rows)[generation - 1]
        batches = jnp.asarray(stops - starts)[generation - 1]
        loss = jnp.where(is_trained, state.total / batches, state.loss)
        return state._replace(
            params=populations.where(is_trained, state.network, state.params),
            loss=loss,
            total=jnp.zeros(1),
            failed=jnp.sum(~jnp.isfinite(loss)),
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

    return Algorithm(init, stages)


def highest(scores: Params, count: int | Int[Array, ""]) -> PyTree[Bool[Array, "..."]]:
    """True for the `count` genes of highest score in all leaves together."""
    flat, unravel = ravel_pytree(scores)
    is_chosen = jnp.arange(flat.size) < count
    chosen = jnp.zeros(flat.size, bool).at[jnp.argsort(-flat)].set(is_chosen)
    return jax.tree.map(lambda leaf: leaf > 0, unravel(chosen.astype(flat.dtype)))


def _where(mask: PyTree[Bool[Array, "..."]], tree: Params, other: int) -> Params:
    return jax.tree.map(lambda is_in, leaf: jnp.where(is_in, leaf, other), mask, tree)


def _of_alive(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner` without the pruned weights, for a state that is a pair of `alive` and its own."""

    def update(updates: Params, state: Any, params: Params | None = None) -> Any:
        alive, inner_state = state
        updates, inner_state = inner.update(_where(alive, updates, 0), inner_state, params)
        return _where(alive, updates, 0), (alive, inner_state)

    return optax.GradientTransformation(inner.init, update)  # pyright: ignore[reportArgumentType]
