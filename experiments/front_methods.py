"""Every way to a front that a comparison can name, baselines included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

import gajax
from experiments import descent, pruning
from experiments.fronts import Step
from experiments.networks import Network
from gajax.refinement import budgets
from gajax.types import Params

if TYPE_CHECKING:
    from experiments.gemonn import Config

Method = Callable[[Key[Array, ""], "Config", Network, gajax.Data], Iterator[Step]]

PLAIN_RATE = 10.0
"""Rate of the gradient step of NSGA-II(+gradient), the best of .1, 1, 10 on held-out images."""

CHECKS = 20
"""Times that the final refinement looks which moment of an individual is its best."""

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
    "sgd": partial(optax.sgd, momentum=0.9),
}


def densities(config: Config) -> Float[Array, " P"]:
    """Densities of the initial population, as published or a fixed factor apart."""
    if config.initial_densities == "graded":
        return gajax.graded(config.population_size)
    return jnp.geomspace(config.lowest_density, 1, config.population_size)


def evolution(
    key: Key[Array, ""], config: Config, network: Network, data: gajax.Data
) -> Iterator[Step]:
    """GEMONN, then the final refinement."""
    refine = None
    if config.refine_steps:
        refine = gajax.Refine(_sparse_optimizer(config), config.refine_steps, config.refine_every)
    algorithm = gajax.gemonn(
        network.loss_fn,
        batch_size=config.batch_size,
        value_and_grad=network.value_and_grad,
        crossover=partial(
            gajax.crossover.gradient_guided_sbx, reading=config.gradient, bound=network.bound
        ),
        refine=refine,
        stale_parents=config.stale_parents,
        chunk_size=config.chunk_size,
    )
    return _evolve(key, config, network, data, algorithm, config.final_refine_steps)


def plain(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    *,
    optimizer: optax.GradientTransformation | None = None,
) -> Iterator[Step]:
    """NSGA-II; with an optimiser, the offspring take one of its steps."""
    algorithm = gajax.nsga2(
        network.loss_fn,
        batch_size=config.batch_size,
        crossover=partial(gajax.crossover.sbx, bound=network.bound),
        refine=gajax.Refine(optimizer, 1) if optimizer else None,
        stale_parents=config.stale_parents,
        chunk_size=config.chunk_size,
    )
    return _evolve(key, config, network, data, algorithm, 0)


def descended(
    key: Key[Array, ""], config: Config, network: Network, data: gajax.Data
) -> Iterator[Step]:
    """SGD and Adam at three rates each, of dense networks."""
    return descent.descent(key, network, data, budget=_budget(config), batch_size=config.batch_size)


def pruned(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    *,
    regrowth: bool,
) -> Iterator[Step]:
    """One network that is trained and made sparser in turns."""
    return pruning.snapshots(
        key,
        network,
        data,
        budget=_budget(config),
        batch_size=config.batch_size,
        regrowth=regrowth,
    )


METHODS: dict[str, Method] = {
    "gemonn": evolution,
    "nsga2": plain,
    "nsga2-gradient": partial(plain, optimizer=optax.sgd(PLAIN_RATE)),
    "nsga2-gradient-0": partial(plain, optimizer=gajax.sparse(optax.sgd(PLAIN_RATE))),
    "descent": descended,
    "pruning": partial(pruned, regrowth=False),
    "regrowth": partial(pruned, regrowth=True),
}
"""Name to `method(key, config, network, data) -> the steps it takes`."""

NAMES = {"descent": descent.NAMES}
"""Names of the individuals where each is a method by itself."""


def _budget(config: Config) -> float:
    """The budget, or the offspring of all generations on a batch each."""
    offspring = config.generations * config.population_size * config.batch_size
    return offspring if config.budget is None else config.budget


def _sparse_optimizer(config: Config) -> optax.GradientTransformation:
    return gajax.sparse(OPTIMIZERS[config.optimizer](config.learning_rate))


def _evolve(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    algorithm: gajax.Algorithm,
    refine_steps: int,
) -> Iterator[Step]:
    """Evolve until the generations or the budget are spent, leaving enough for the refinement."""
    key_init, key_run, key_refine = jax.random.split(key, 3)
    population = _draw(key_init, network.init, densities(config))
    spent = latest = dearest = 0.0
    steps = gajax.evolve(algorithm, key_run, population, data, generations=config.generations)
    step = None
    for state, info in steps:
        step = Step(info, state.params, jax.device_get(state.density))
        yield step
        latest += _cost(info)
        if info.done:
            spent, dearest, latest = spent + latest, max(dearest, latest), 0.0
            if config.budget is None:
                continue
            reserve = _refinement_cost(step.density, refine_steps, config.batch_size)
            if spent + dearest + reserve > config.budget:
                break
    assert step is not None, "generation 0 is always there"
    if refine_steps:
        yield step._replace(phase="evolved")
        algorithm = gajax.refinement(
            network.loss_fn,
            optimizer=_sparse_optimizer(config),
            batch_size=config.batch_size,
            steps=refine_steps,
            value_and_grad=network.value_and_grad,
            checks=CHECKS,
            chunk_size=config.chunk_size,
        )
        density = step.density
        for state, info in gajax.evolve(algorithm, key_refine, step.params, data, generations=1):
            if info.done:  # before, it is at most some genes off that have become zero by chance
                density = gajax.sharding.gather(gajax.density(state.params))
            yield Step(info, state.params, density, "refinement")


def _cost(info: gajax.Info) -> float:
    return float(info.gradient_examples) + float(info.forward_examples) / 3


def _refinement_cost(density: np.ndarray, steps: int, batch_size: int) -> float:
    """What the final refinement costs at most: its gradient steps, and the scoring in between."""
    if not steps:
        return 0.0
    moves = budgets(jnp.asarray(density), steps)
    checks = 2 + moves // max(1, steps // CHECKS)
    return float(moves.sum() * batch_size + checks.sum() * gajax.evaluation.SCORE_BATCH / 3)


@partial(jax.jit, static_argnames="init")
def _draw(key: Key[Array, ""], init: Callable, densities: Float[Array, " P"]) -> Params:
    return gajax.init(key, init, len(densities), densities=densities)
