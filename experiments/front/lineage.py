"""A front in two parts: one network that becomes sparse, and a ladder of its descendants.

The denser networks of a front need many steps, which one network after another gives them; the
sparsest ones need the right weights, which many networks at a time find.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

import gajax
from experiments.front import measures
from experiments.front.algorithms import CHANGES, DIRECTIONS, copies, individual, ladder
from experiments.front.baselines import REGROWTH_SHARE
from experiments.front.config import LINEAGE_END, Config
from experiments.front.measures import Step
from experiments.front.networks import Network
from experiments.running import steps
from experiments.running.checkpoints import Checkpoint
from experiments.running.steps import Watch
from gajax.individual import all_but_biases, genes_of

DENSITIES = {1.0: 1, 0.3: 1, 0.1: 1, 0.05: 2, 0.03: 3, LINEAGE_END: 3}
"""Densities of the one network, and their shares of its batches."""

INTERVAL = 80
"""Batches between two moves of the one network."""

FEWEST = 4 * sum(DENSITIES.values())
"""Fewest batches of the one network."""

AVERAGE = 0.99
"""Decay of the average of its weights over batches."""


def batch_sizes(config: Config) -> tuple[int, int]:
    """Those of the one network and of the ladder: at equal cost smaller ones give more steps."""
    return max(1, config.batch_size // 4), max(1, config.batch_size // 2)


def evolve(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    resumed: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Iterator[Step]:
    """Spend the share `lineage` of the budget on one network, and the rest on its descendants.

    The population of a step has the network at each of its densities, and behind them those of the
    ladder. `info.generation` counts the moves of the one network, and then goes on.
    """
    key_init, key_one, key_ladder = jax.random.split(key, 3)
    one, moves = lineage_of(config, network)
    setting = one, key_one, copies(key_init, network.init, 1), data
    is_begun = resumed is not None and resumed.facts["phase"] == "ladder"
    if is_begun:
        assert resumed is not None
        shapes = jax.eval_shape(_results, gajax.state_shapes(*setting))
        before, loss, ancestor = resumed.take(shapes)
    else:
        density = None
        for state, info in steps.evolve(setting, resumed=resumed, watch=watch):
            saved = state, {"phase": "lineage", **steps.facts(info)}
            if density is None or info.done:  # like the losses, updated after each move
                density = measures.densities(state.params)
            yield Step(info, state.params, density, saved=saved)
        before, loss, ancestor = jax.tree.map(jnp.copy, _results(state))
    density = measures.densities(before)
    ancestor = jax.vmap(partial(individual, config))(ancestor)
    setting = ladder_of(config, network), key_ladder, ancestor, data
    for state, info in steps.evolve(setting, resumed=resumed if is_begun else None, watch=watch):
        saved = (before, loss, genes_of(ancestor)), state
        facts = {"phase": "ladder", **steps.facts(info)}
        info = info._replace(
            generation=info.generation + moves,
            loss=np.concatenate([np.asarray(loss), info.loss]),
        )
        both = before, genes_of(state.params)
        params = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *both) if info.done else None
        density_now = np.concatenate([density, jax.device_get(state.objectives["density"])])
        yield Step(info, params, density_now, saved=(saved, facts))


def ladder_of(config: Config, network: Network) -> gajax.Algorithm:
    """The ladder, with what the one network leaves of the budget."""
    assert config.budget is not None and config.lineage is not None
    _, batch_size = batch_sizes(config)
    rest = replace(config, budget=(1 - config.lineage) * config.budget, batch_size=batch_size)
    return ladder(rest, network, **CHANGES[config.method], start=LINEAGE_END)


def lineage_of(config: Config, network: Network) -> tuple[gajax.Algorithm, int]:
    """The algorithm of the one network, and the number of its generations.

    It takes many more steps than the ladder, for which its learning rate at density 1 is lower and
    Adam's memory of squares is longer.
    """
    assert config.budget is not None and config.lineage is not None
    assert config.sparse_learning_rate is not None
    batch_size, _ = batch_sizes(config)
    batches = int(config.lineage * config.budget / batch_size)
    shares = np.cumsum([0, *DENSITIES.values()])
    bounds = shares * batches // shares[-1]
    schedule = tuple(zip(DENSITIES, np.diff(bounds).tolist(), strict=True))
    moves = gajax.pruning_moves(schedule, regrow=REGROWTH_SHARE, interval=INTERVAL)
    is_adam = config.optimizer == "adam"
    direction = optax.scale_by_adam(b2=0.99) if is_adam else DIRECTIONS[config.optimizer]
    rates = config.rate / 5, config.sparse_learning_rate
    scale = gajax.scale_by_density(*rates, may_be_zero=all_but_biases)
    algorithm = gajax.pruning(
        network.loss_fn,
        optimizer=optax.chain(direction, scale),
        batch_size=batch_size,
        moves=moves,
        average=AVERAGE,
    )
    return algorithm, len(moves)


def _results(state: Any) -> tuple[Any, Any, Any]:
    """The network at each density, their losses, and the last one, from which others descend."""
    return state.params, state.loss, gajax.take(state.params, jnp.array([-1]))
