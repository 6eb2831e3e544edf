"""Every way to a front that a comparison can name, baselines included."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

import gajax
from experiments.front import descent, pruning
from experiments.front.config import Config
from experiments.front.measures import Step
from experiments.front.networks import Network
from experiments.running import memory, side_by_side
from experiments.running.checkpoints import Checkpoint
from gajax.refinement import budgets
from gajax.types import Params

Method = Callable[..., Iterator[Step]]

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


def gemonn(
    config: Config, network: Network, examples_per_step: int | None = None
) -> gajax.Algorithm:
    """GEMONN, before its final refinement."""
    refine = None
    if config.refine_steps:
        refine = gajax.Refine(_sparse_optimizer(config), config.refine_steps, config.refine_every)
    return gajax.gemonn(
        network.loss_fn,
        batch_size=config.batch_size,
        value_and_grad=network.value_and_grad,
        crossover=partial(
            gajax.crossover.gradient_guided_sbx, reading=config.gradient, bound=network.bound
        ),
        refine=refine,
        stale_parents=config.stale_parents,
        chunk_size=config.chunk_size,
        examples_per_step=examples_per_step,
    )


def nsga2(
    config: Config,
    network: Network,
    examples_per_step: int | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
) -> gajax.Algorithm:
    """NSGA-II; with an optimiser, the offspring take one of its steps."""
    return gajax.nsga2(
        network.loss_fn,
        batch_size=config.batch_size,
        crossover=partial(gajax.crossover.sbx, bound=network.bound),
        refine=gajax.Refine(optimizer, 1) if optimizer else None,
        stale_parents=config.stale_parents,
        chunk_size=config.chunk_size,
        examples_per_step=examples_per_step,
    )


def refinement(config: Config, network: Network) -> gajax.Algorithm:
    """The final refinement; when it looks for the best moments depends on its steps' length."""
    return gajax.refinement(
        network.loss_fn,
        optimizer=_sparse_optimizer(config),
        batch_size=config.batch_size,
        steps=config.final_refine_steps,
        value_and_grad=network.value_and_grad,
        checks=CHECKS,
        chunk_size=config.chunk_size,
    )


ALGORITHMS: dict[str, Callable[..., gajax.Algorithm]] = {
    "gemonn": gemonn,
    "nsga2": nsga2,
    "nsga2-gradient": partial(nsga2, optimizer=optax.sgd(PLAIN_RATE)),
    "nsga2-gradient-0": partial(nsga2, optimizer=gajax.sparse(optax.sgd(PLAIN_RATE))),
}
"""Name to `algorithm(config, network, examples_per_step)`, of methods that evolve."""


def budget(config: Config) -> float:
    """The budget, or the offspring of all generations on a batch each."""
    offspring = config.generations * config.population_size * config.batch_size
    return offspring if config.budget is None else config.budget


def plan(config: Config) -> tuple[float, float]:
    """What a run costs at most, infinite where nothing but generations limits it.

    And how much of it about is kept for the final refinement.
    """
    if config.method not in ALGORITHMS:
        return budget(config), 0.0
    reserve = _refinement_cost(densities(config), config) if is_refined(config) else 0.0
    return math.inf if config.budget is None else config.budget, reserve


def is_refined(config: Config) -> bool:
    """Whether the evolution ends with a refinement."""
    return config.method == "gemonn" and config.final_refine_steps > 0


def memory_needed(config: Config, network: Network, examples: Any) -> int:
    """About the bytes at the height of an evolution; of the examples only the shapes matter."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    common = jax.eval_shape(network.init, key), config.population_size, gajax.Data(examples, key)
    evolution = memory.needed(ALGORITHMS[config.method](config, network), *common)
    if not is_refined(config):
        return evolution
    return max(evolution, memory.needed(refinement(config, network), *common))


def descended(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    resumed: Checkpoint | None = None,
) -> Iterator[Step]:
    """SGD and Adam at three rates each, of dense networks."""
    return descent.descent(
        key,
        network,
        data,
        budget=budget(config),
        batch_size=config.batch_size,
        resumed=resumed,
    )


def pruned(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    resumed: Checkpoint | None = None,
    *,
    regrowth: bool,
) -> Iterator[Step]:
    """One network that is trained and made sparser in turns."""
    return pruning.snapshots(
        key,
        network,
        data,
        budget=budget(config),
        batch_size=config.batch_size,
        regrowth=regrowth,
        resumed=resumed,
    )


def evolved(
    key: Key[Array, "*S"],
    config: Config,
    network: Network,
    data: gajax.Data,
    resumed: Checkpoint | None = None,
) -> Iterator[Step]:
    """Evolve until the generations or the budget are spent, leaving enough for the refinement.

    Several keys, and data with their axis S, evolve as many seeds at once.
    """
    each = partial(side_by_side.each, key)
    key_init, key_run, key_refine = side_by_side.split(key, 3)
    population = each(lambda key: _draw(key, network.init, densities(config)), key_init)
    examples_per_step = side_by_side.examples_per_step(key)
    algorithm = ALGORITHMS[config.method](config, network, examples_per_step)
    if resumed and resumed.facts["phase"] == "refinement":
        setting = refinement(config, network), key_refine, population, data
        shape = jax.ShapeDtypeStruct((*key.shape, config.population_size), jnp.float32)
        after, density = resumed.take((gajax.yielded_like(*setting), shape))
        density = np.asarray(density)
        yield Step(after[1], after[0].params, density, "refinement")
    else:
        step = None
        for step in _evolution((algorithm, key_run, population, data), config, resumed):
            yield step
        assert step is not None, "generation 0 is always there"
        if not is_refined(config):
            return
        yield step._replace(phase="evolved", saved=None)
        setting = refinement(config, network), key_refine, step.params, data
        after, density = None, step.density
    for state, info in gajax.evolve(*setting, generations=1, after=after):
        if info.done.all():  # before, it is at most some genes off that became zero by chance
            density = gajax.sharding.gather(each(gajax.density, state.params))
        saved = ((state, info), density), {"phase": "refinement"}
        yield Step(info, state.params, density, "refinement", saved)


def _evolution(setting: tuple, config: Config, resumed: Checkpoint | None) -> Iterator[Step]:
    """The steps before the refinement; `setting` is what `gajax.evolve` takes."""
    spent = latest = dearest = 0.0
    is_over, after = False, None
    if resumed:
        after = state, info = resumed.take(gajax.yielded_like(*setting))
        spent, latest, dearest, is_over = resumed.facts["costs"]
        yield Step(info, state.params, np.asarray(state.density))
    if is_over:
        return
    for state, info in gajax.evolve(*setting, generations=config.generations, after=after):
        density = jax.device_get(state.density)
        latest += _cost(info)
        if info.done.all():
            spent, dearest, latest = spent + latest, max(dearest, latest), 0.0
            if config.budget is not None:
                reserve = _refinement_cost(density, config) if is_refined(config) else 0.0
                is_over = spent + dearest + reserve > config.budget
        facts = {"phase": "evolution", "costs": (spent, latest, dearest, is_over)}
        yield Step(info, state.params, density, saved=((state, info), facts))
        if is_over:
            return


METHODS: dict[str, Method] = {
    **dict.fromkeys(ALGORITHMS, evolved),
    "descent": descended,
    "pruning": partial(pruned, regrowth=False),
    "regrowth": partial(pruned, regrowth=True),
}
"""Name to `method(key, config, network, data, resumed) -> the steps it takes`.

With a checkpoint, the first step is the one at which it was made.
"""

NAMES = {"descent": descent.NAMES}
"""Names of the individuals where each is a method by itself."""


def _sparse_optimizer(config: Config) -> optax.GradientTransformation:
    return gajax.sparse(OPTIMIZERS[config.optimizer](config.learning_rate))


def _cost(info: gajax.Info) -> float:
    """What a step costs one seed: all evolve at the same cost."""
    return float(np.max(info.gradient_examples) + np.max(info.forward_examples) / 3)


def _refinement_cost(density: np.ndarray | Array, config: Config) -> float:
    """What the final refinement costs at most: its gradient steps, and the scoring in between."""
    steps = config.final_refine_steps
    moves = budgets(jnp.asarray(density), steps)
    checks = 2 + moves // max(1, steps // CHECKS)
    return float(moves.sum() * config.batch_size + checks.sum() * gajax.evaluation.SCORE_BATCH / 3)


@partial(jax.jit, static_argnames="init")
def _draw(key: Key[Array, ""], init: Callable, densities: Float[Array, " P"]) -> Params:
    return gajax.init(key, init, len(densities), densities=densities)
