"""Gradual pruning of one trained network, with and without regrowth: a front in a single run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

import gajax
from experiments.front.descent import split, tell
from experiments.front.measures import Step
from experiments.front.networks import Network
from experiments.running.checkpoints import Checkpoint
from gajax import evaluation
from gajax.types import Params

PRUNING = (
    (1.0, 4000),
    *((density, 1750) for density in (0.5, 0.3, 0.2, 0.15, 0.11, 0.08)),
    *((density, 1750) for density in (0.05, 0.03, 0.02, 0.01, 0.005, 0.002)),
)
"""Densities of the weights and the batches that each of them gets."""

REGROWTH = (
    (1.0, 2500),
    *((0.3, 1500), (0.2, 1500), (0.1, 1500), (0.05, 2000), (0.03, 2000), (0.02, 2500)),
    *((0.01, 3000), (0.007, 2500), (0.005, 2500), (0.0035, 2000), (0.002, 1500)),
)
"""The same where weights may grow back."""

REGROWTH_INTERVAL = 250
"""Batches between two moves where a run is as long as `REGROWTH`, else in proportion."""

REGROWTH_SHARE = 0.2
"""Share of a density's weights that its first move lets grow; falls linearly to 0."""

FEWEST = 4
"""Batches that a stage gets at least."""


class Stage(NamedTuple):
    """The batches `start` to `stop` of a run; each move `(batch, keep, grow)` counts weights."""

    start: int
    stop: int
    moves: tuple[tuple[int, int, int], ...]


class _State(NamedTuple):
    """What persists between yields."""

    params: Params
    alive: PyTree[Bool[Array, "..."]]
    moments: optax.OptState
    slots: Params  # [P, ...], as yielded
    loss: Float[Array, " P"]


def snapshots(
    key: Key[Array, ""],
    network: Network,
    data: gajax.Data,
    *,
    budget: float,
    batch_size: int,
    regrowth: bool,
    learning_rate: float = 1e-3,
    resumed: Checkpoint | None = None,
) -> Iterator[Step]:
    """Train one network by Adam, dense at first and then at ever lower densities.

    There is an individual for each stage of `PRUNING` or `REGROWTH`: the network as it was when the
    stage ended or, until then, as it now is. Its loss is the mean over the batches of the last
    yield that it was in training. `info.generation` counts the stages from 1.

    The weights of largest magnitude in all leaves together stay, and biases always do. With
    regrowth, a part of those that are to stay is chosen anew by the gradient on a batch that is
    used for nothing else, counted as any other; they start at zero.

    With a checkpoint, the first yield is the one at which it was made.
    """
    schedule = REGROWTH if regrowth else PRUNING
    data = jax.device_put(data)
    state = _start(key, network.init, len(schedule), learning_rate)
    weights = sum(leaf.size for leaf in _weights(state.params))
    stages = plan(int(budget // batch_size), weights, regrowth)
    moves = {move[0]: move[1:] for stage in stages for move in stage.moves}
    ends = {stage.stop for stage in stages} | set(moves)
    number = 0
    for order, start, stop in split(data, ends, batch_size=batch_size):
        if start == stages[number].stop:
            number += 1
        if resumed and stop < resumed.facts["batches"]:
            continue
        if resumed and stop == resumed.facts["batches"]:
            densities = jax.ShapeDtypeStruct((len(schedule),), jnp.float32)
            state, density = resumed.take((state, densities))
        else:
            state, density = _advance(
                network.loss_fn,
                learning_rate,
                state,
                data,
                order,
                (start, stop),
                number,
                start in moves,
                moves.get(start, (weights, 0)),
            )
        stage = stages[number]
        done = stop == stage.stop
        fraction = (stop - stage.start) / (stage.stop - stage.start)
        info = tell(stop - start, batch_size, state.loss, number + 1, fraction, done)
        saved = (state, density), {"batches": stop}
        yield Step(info, state.slots, np.asarray(density), saved=saved)


def plan(batches: int, weights: int, regrowth: bool) -> list[Stage]:
    """The stages of a run of that many batches, in proportion to the schedule's lengths."""
    rows = REGROWTH if regrowth else PRUNING
    densities, lengths = (np.array(row) for row in zip(*rows, strict=True))
    if batches < FEWEST * len(lengths):
        raise ValueError(f"{len(lengths)} stages need {FEWEST} batches each, there are {batches}")
    scale = batches / lengths.sum()
    lengths = np.maximum(FEWEST, np.round(scale * lengths)).astype(int)
    while excess := lengths.sum() - batches:
        lengths[np.argmax(lengths)] -= np.sign(excess)
    stops = np.cumsum(lengths)
    stages = [Stage(0, int(stops[0]), ())]
    for index in range(1, len(stops)):
        before, density = densities[index - 1 : index + 1]
        start, length = int(stops[index - 1]), int(lengths[index])
        if regrowth:
            kept = round(density * weights)
            count = max(1, round(length / max(2, scale * REGROWTH_INTERVAL)))
            grown = [round(REGROWTH_SHARE * (1 - i / count) * kept) for i in range(count)]
            numbers = [(kept - grow, grow) for grow in grown]
        else:
            middle = float(np.sqrt(before * density))
            numbers = [(round(share * weights), 0) for share in (middle, density)]
        batch = [start + length * i // len(numbers) for i in range(len(numbers))]
        moves = tuple((at, *pair) for at, pair in zip(batch, numbers, strict=True))
        stages.append(Stage(start, int(stops[index]), moves))
    return stages


def highest(scores: Params, count: int | Int[Array, ""]) -> PyTree[Bool[Array, "..."]]:
    """True for the `count` weights of highest score in all leaves together, and for all biases."""
    flat, unravel = ravel_pytree(_weights(scores))
    ranks = jnp.arange(flat.size)
    chosen = jnp.zeros(flat.size, bool).at[jnp.argsort(-flat)].set(ranks < count)
    weights = iter(unravel(chosen.astype(flat.dtype)))
    return jax.tree.map(
        lambda leaf, bias: jnp.ones(leaf.shape, bool) if bias else next(weights) > 0,
        scores,
        _is_bias(scores),
    )


def _is_bias(params: Params) -> PyTree[bool]:
    return gajax.population.leaf_mask(params, lambda path, leaf: path.endswith("bias"))


def _weights(params: Params) -> list[Array]:
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(_is_bias(params)), strict=True)
    return [leaf for leaf, bias in pairs if not bias]


def _masked(alive: PyTree[Bool[Array, "..."]], values: Params) -> Params:
    return jax.tree.map(lambda on, leaf: jnp.where(on, leaf, 0), alive, values)


@partial(jax.jit, static_argnames=("init", "stages"))
def _start(key, init, stages, learning_rate):
    params = init(key)
    slots = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (stages, *leaf.shape)), params)
    alive = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
    moments = optax.adam(learning_rate).init(params)
    return _State(params, alive, moments, slots, jnp.full(stages, jnp.inf, jnp.float32))


@partial(jax.jit, static_argnames="loss_fn")
def _advance(loss_fn, learning_rate, state, data, order, bounds, stage, moves, numbers):
    """Move if it is time, then train; the first batch goes to the choice of what grows, if any."""
    start, stop = bounds
    keep, grow = numbers
    optimizer = optax.adam(learning_rate)

    def value_and_grad(params, batch):
        examples = evaluation.batch_at(data.examples, order, batch)
        return jax.value_and_grad(loss_fn)(params, examples, *data.shared)

    def regrown(kept, params):
        loss, gradient = value_and_grad(params, start)
        scores = jax.tree.map(lambda on, leaf: jnp.where(on, -1, jnp.abs(leaf)), kept, gradient)
        return jax.tree.map(jnp.logical_or, kept, highest(scores, grow)), loss

    def moved():
        magnitudes = jax.tree.map(
            lambda on, leaf: jnp.where(on, jnp.abs(leaf), -1), state.alive, state.params
        )
        kept = highest(magnitudes, keep)
        params = _masked(kept, state.params)
        alive, loss = jax.lax.cond(
            grow > 0, lambda: regrown(kept, params), lambda: (kept, jnp.float32(0))
        )
        return params, alive, loss

    params, alive, loss = jax.lax.cond(
        moves, moved, lambda: (state.params, state.alive, jnp.float32(0))
    )

    def train(batch, carry):
        params, moments, total = carry
        loss, gradient = value_and_grad(params, batch)
        updates, moments = optimizer.update(_masked(alive, gradient), moments, params)
        params = optax.apply_updates(params, _masked(alive, updates))
        return params, moments, total + loss

    first = start + (grow > 0)
    params, moments, total = jax.lax.fori_loop(first, stop, train, (params, state.moments, loss))
    ahead = jnp.arange(state.loss.size) >= stage
    loss = jnp.where(ahead, total / (stop - start), state.loss)
    slots = jax.tree.map(
        lambda slot, leaf: jnp.where(ahead.reshape(-1, *[1] * leaf.ndim), leaf, slot),
        state.slots,
        params,
    )
    return _State(params, alive, moments, slots, loss), gajax.density(slots)
