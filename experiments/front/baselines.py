"""Baselines without evolution: gradient descent of dense networks, and pruning of one network."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key

import gajax
from experiments.front import measures
from experiments.front.algorithms import copies
from experiments.front.measures import Step
from experiments.front.networks import Network
from experiments.front.rows import OF_DESCENT, RATES
from experiments.running import steps
from experiments.running.checkpoints import Checkpoint
from experiments.running.steps import Watch
from gajax.algorithms.pruning import Move
from gajax.types import Optimizer

PRUNING = (
    (1.0, 4000),
    *((density, 1750) for density in (0.5, 0.3, 0.2, 0.15, 0.11, 0.08)),
    *((density, 1750) for density in (0.05, 0.03, 0.02, 0.01, 0.005, 0.002)),
)
"""Densities and the batches that each of them gets in a run of 25,000 batches."""
REGROWTH = (
    (1.0, 2500),
    *((0.3, 1500), (0.2, 1500), (0.1, 1500), (0.05, 2000), (0.03, 2000), (0.02, 2500)),
    *((0.01, 3000), (0.007, 2500), (0.005, 2500), (0.0035, 2000), (0.002, 1500)),
)
REGROWTH_INTERVAL = 250  # batches between two moves in a run of 25,000
SHORTEST_INTERVAL = 20  # each move takes one of its batches to choose by
REGROWTH_SHARE = 0.05
FEWEST = 4  # batches of a density


class RuleState(NamedTuple):
    """The state of `sgd_or_adam`, which selects the update rule of an individual."""

    rate: Float[Array, ""]
    is_adam: Bool[Array, ""]
    adam: Any


def descent(
    key: Key[Array, ""],
    network: Network,
    data: gajax.Data,
    *,
    batches: int,
    batch_size: int,
    resumed: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Iterator[Step]:
    """Train the individuals `OF_DESCENT`: one dense network by SGD and by Adam at each rate.

    All start from the same network and use the same batches. The costs in `info` are those of one
    individual, because each is a separate method. A generation is an epoch or about half of one.
    """
    size = len(OF_DESCENT)
    epoch = gajax.evaluation.example_count(data) // batch_size
    fewest = -(-batches // epoch)
    # All generations have as many batches; of all such numbers, that which leaves out the fewest.
    generations = min(range(fewest, 2 * fewest + 1), key=lambda number: batches % number)
    algorithm = gajax.descent(
        network.loss_fn,
        optimizer=SGD_OR_ADAM,
        batch_size=batch_size,
        batches=batches // generations,
    )
    setting = algorithm, key, copies(key, network.init, size), data
    start_from = None
    if resumed is None:
        start_from = gajax.start(*setting)
        rates = jnp.tile(jnp.array(RATES, jnp.float32), 2)
        rules = start_from.optimizer_state._replace(
            rate=rates, is_adam=jnp.arange(size) >= len(RATES)
        )
        start_from = start_from._replace(optimizer_state=rules)
    walk = steps.evolve(
        setting,
        generations=generations,
        resumed=resumed,
        start_from=start_from,
        watch=watch,
    )
    for state, info in walk:
        saved = state, steps.facts(info)
        info = info._replace(gradient_examples=info.gradient_examples // size)
        yield Step(info, state.params, measures.densities(state.params), saved=saved)


def pruning(
    key: Key[Array, ""],
    network: Network,
    data: gajax.Data,
    *,
    optimizer: Optimizer,
    batches: int,
    batch_size: int,
    regrowth: bool,
    resumed: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Iterator[Step]:
    """Train one network, at first dense and then at decreasing densities.

    Each density of the schedule has an individual: the network at the end of its batches or, before
    that, the current network. `info.generation` counts the densities from 1.
    """
    moves = moves_of(batches, regrowth)
    algorithm = gajax.pruning(
        network.loss_fn, optimizer=optimizer, batch_size=batch_size, moves=moves
    )
    density = None
    setting = algorithm, key, copies(key, network.init, 1), data
    for state, info in steps.evolve(setting, resumed=resumed, watch=watch):
        saved = state, steps.facts(info)
        move = moves[info.generation - 1]
        of_row = [other for other in moves if other.row == move.row]
        start, stop = of_row[0].start, of_row[-1].stop
        if density is None or info.done:  # like the losses, updated after each move
            density = measures.densities(state.params)
        batch = move.start + info.fraction * (move.stop - move.start)
        info = info._replace(
            generation=move.row + 1,
            fraction=(batch - start) / (stop - start),
            done=info.done and move == of_row[-1],
        )
        yield Step(info, state.params, density, saved=saved)


def moves_of(batches: int, regrowth: bool) -> tuple[Move, ...]:
    """The moves of a run of that many batches, in which each density gets `FEWEST` or more."""
    densities, lengths = zip(*(REGROWTH if regrowth else PRUNING), strict=True)
    scale = batches / sum(lengths)
    scaled = np.maximum(FEWEST, np.round(scale * np.array(lengths))).astype(int)
    while excess := scaled.sum() - batches:
        scaled[np.argmax(scaled)] -= np.sign(excess)
    schedule = tuple(zip(densities, scaled.tolist(), strict=True))
    if not regrowth:
        return gajax.pruning_moves(schedule)
    interval = max(SHORTEST_INTERVAL, scale * REGROWTH_INTERVAL)
    return gajax.pruning_moves(schedule, regrow=REGROWTH_SHARE, interval=interval)


def _sgd_or_adam() -> optax.GradientTransformation:
    """SGD or Adam, depending on the state."""
    adam = optax.scale_by_adam()

    def init(params: Any) -> RuleState:
        return RuleState(jnp.float32(0), jnp.bool_(False), adam.init(params))

    def update(updates: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
        directions, moments = adam.update(updates, state.adam, params)

        def step(gradient: Array, direction: Array) -> Array:
            return -state.rate * jnp.where(state.is_adam, direction, gradient)

        return jax.tree.map(step, updates, directions), state._replace(adam=moments)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


SGD_OR_ADAM = _sgd_or_adam()
