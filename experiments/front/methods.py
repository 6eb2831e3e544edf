"""Methods of computing a front, baselines included."""

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
from experiments.front import baselines
from experiments.front.config import Config
from experiments.front.measures import Step
from experiments.front.networks import WEIGHT_BOUND, Network
from experiments.running import memory, seed_axis, steps
from experiments.running.checkpoints import Checkpoint
from experiments.running.cli import require
from experiments.running.steps import Watch
from gajax.algorithms.refinement import budgets, generation_count
from gajax.types import Params, Plan

Method = Callable[..., Iterator[Step]]

PLAIN_RATE = 10.0
"""Learning rate of NSGA-II(+gradient), the best of .1, 1 and 10 on held-out images."""

CHECKS = 20
"""Number of evaluations in the final refinement to keep the best state of an individual."""

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
    "sgd": partial(optax.sgd, momentum=0.9),
}


def densities(config: Config) -> Float[Array, " P"]:
    """Densities of the initial population."""
    if config.initial_densities == "graded":
        return gajax.linear_densities(config.population_size)
    return jnp.geomspace(config.lowest_density, 1, config.population_size)


def gemonn(config: Config, network: Network) -> gajax.Algorithm:
    """GEMONN without its final refinement."""
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
    )


def nsga2(
    config: Config, network: Network, *, optimizer: optax.GradientTransformation | None = None
) -> gajax.Algorithm:
    """NSGA-II; with an optimiser, the offspring take one gradient step."""
    return gajax.nsga2(
        network.loss_fn,
        batch_size=config.batch_size,
        crossover=partial(gajax.crossover.sbx, bound=network.bound),
        mutation=partial(gajax.mutation.polynomial, bound=WEIGHT_BOUND),
        refine=gajax.Refine(optimizer, 1) if optimizer else None,
        stale_parents=config.stale_parents,
        chunk_size=config.chunk_size,
    )


def refinement(config: Config, network: Network) -> gajax.Algorithm:
    """The final refinement."""
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
"""Maps evolutionary methods to functions `make(config, network)`."""


def budget(config: Config) -> float:
    """The budget, by default the cost of one batch for each offspring of all generations."""
    offspring = config.generations * config.population_size * config.batch_size
    return offspring if config.budget is None else config.budget


def expected_costs(config: Config, network: Network, examples: int) -> tuple[float, float]:
    """The costs of the evolution, infinite without a budget, and of the final refinement.

    The latter depends on the densities, of which those of the initial population are known.
    """
    if config.method not in ALGORITHMS:
        return budget(config), 0.0
    reserve = _refinement_cost(densities(config), config)
    if config.budget is None:
        return math.inf, reserve
    stages = ALGORITHMS[config.method](config, network).stages(config.population_size, examples)
    spent = generation_cost(stages, 0)
    for generation in range(1, config.generations + 1):
        following = generation_cost(stages, generation)
        if spent + following + reserve > config.budget:
            break
        spent += following
    return spent, reserve


def require_budget(config: Config, network: Network, examples: int) -> None:
    """Raise InputError if an evolution cannot end its first generation within the budget."""
    if config.budget is None or config.method not in ALGORITHMS:
        return
    stages = ALGORITHMS[config.method](config, network).stages(config.population_size, examples)
    reserve = _refinement_cost(densities(config), config)
    lowest = sum(generation_cost(stages, generation) for generation in (0, 1)) + reserve
    parts = "its first generation" + (" and its final refinement" if reserve else "")
    expected = f"{math.ceil(lowest):,} or more, the cost of {config.method} with {parts}"
    require(config.budget >= lowest, "--budget", f"{config.budget:,.0f}", expected)


def generation_cost(stages: Plan, generation: int) -> float:
    """The cost of a generation."""
    costs = stages(generation)
    return sum(stage.gradient_examples + stage.forward_examples / 3 for stage in costs)


def is_refined(config: Config) -> bool:
    """Whether the evolution ends with a refinement."""
    return config.method == "gemonn" and config.final_refine_steps > 0


def memory_needed(config: Config, network: Network, examples: Any) -> int:
    """Estimate the peak bytes of an evolution from the shapes of the examples."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    common = jax.eval_shape(network.init, key), config.population_size, gajax.Data(examples, key)
    evolution = memory.needed(ALGORITHMS[config.method](config, network), *common)
    if not is_refined(config):
        return evolution
    return max(evolution, memory.needed(refinement(config, network), *common))


def run_baseline(
    key: Key[Array, ""],
    config: Config,
    network: Network,
    data: gajax.Data,
    resumed: Checkpoint | None,
    watch: Watch | None,
    *,
    baseline: Callable[..., Iterator[Step]],
) -> Iterator[Step]:
    """Run a baseline without a population for the budget."""
    return baseline(
        key,
        network,
        data,
        batches=int(budget(config) // config.batch_size),
        batch_size=config.batch_size,
        resumed=resumed,
        watch=watch,
    )


def evolve(
    key: Key[Array, "*S"],
    config: Config,
    network: Network,
    data: gajax.Data,
    resumed: Checkpoint | None,
    watch: Watch | None,
) -> Iterator[Step]:
    """Evolve while another generation, and the final refinement, are within the budget.

    Several keys, and data with an axis S, evolve several seeds.
    """
    each = partial(seed_axis.map_seeds, key)
    key_init, key_run, key_refine = seed_axis.split(key, 3)
    population = each(lambda key: _draw(key, network.init, densities(config)), key_init)
    in_refinement = resumed is not None and resumed.facts["phase"] == "refinement"
    if not in_refinement:
        setting = ALGORITHMS[config.method](config, network), key_run, population, data
        step = None
        for step in _evolution(setting, config, resumed, watch):
            yield step
        assert step is not None, "there is always generation 0"
        if not is_refined(config):
            return
        yield step._replace(phase="evolved")
        population, resumed = step.params, None
    algorithm = refinement(config, network)
    walk = steps.evolve((algorithm, key_refine, population, data), resumed=resumed, watch=watch)
    last = generation_count(config.final_refine_steps, CHECKS)
    for state, info in walk:
        density = gajax.sharding.gather(each(gajax.density, state.params))
        saved = state, {"phase": "refinement", **steps.facts(info)}
        done = info.done and info.generation == last
        fraction = max(0.0, info.generation - 1 + info.fraction) / last
        info = info._replace(generation=min(1, info.generation), fraction=fraction, done=done)
        yield Step(info, state.params, density, "refinement", saved)


def _evolution(
    setting: tuple, config: Config, resumed: Checkpoint | None, watch: Watch | None
) -> Iterator[Step]:
    """Yield the steps before the refinement; `setting` holds the arguments of `gajax.evolve`."""
    algorithm, key, _, data = setting
    stages = algorithm.stages(config.population_size, gajax.size(data.examples, axis=key.ndim))
    spent = resumed.facts["spent"] if resumed else 0.0
    is_old = resumed is not None
    walk = steps.evolve(setting, generations=config.generations, resumed=resumed, watch=watch)
    for state, info in walk:
        density = jax.device_get(state.density)
        spent += 0.0 if is_old else _cost(info)
        is_old = False
        facts = {"phase": "evolution", "spent": spent}
        yield Step(info, state.params, density, saved=(state, {**facts, **steps.facts(info)}))
        if info.done and config.budget is not None:  # it may be larger than that of a saved state
            reserve = _refinement_cost(density, config)
            if spent + generation_cost(stages, info.generation + 1) + reserve > config.budget:
                return


METHODS: dict[str, Method] = {
    **dict.fromkeys(ALGORITHMS, evolve),
    "descent": partial(run_baseline, baseline=baselines.descent),
    "pruning": partial(run_baseline, baseline=partial(baselines.pruning, regrowth=False)),
    "regrowth": partial(run_baseline, baseline=partial(baselines.pruning, regrowth=True)),
}
"""Maps names to `method(key, config, network, data, resumed, watch)`, an iterator of steps.

With a checkpoint, the first step is the saved one.
"""

NAMES = {"descent": baselines.NAMES}
"""Names of individuals that are separate methods."""


def _sparse_optimizer(config: Config) -> optax.GradientTransformation:
    return gajax.sparse(OPTIMIZERS[config.optimizer](config.learning_rate))


def _cost(info: gajax.Info) -> float:
    """The cost of a step, which is equal for all seeds."""
    return float(np.max(info.gradient_examples) + np.max(info.forward_examples) / 3)


def _refinement_cost(density: np.ndarray | Array, config: Config) -> float:
    """Upper bound on the cost of the final refinement, or 0 without one."""
    if not is_refined(config):
        return 0.0
    most = config.final_refine_steps
    counts = budgets(jnp.asarray(density), most)
    checks = 2 + counts // max(1, most // CHECKS)
    return float(counts.sum() * config.batch_size + checks.sum() * gajax.evaluation.SCORE_BATCH / 3)


# Compiled with few optimisations, because it runs only once.
@partial(jax.jit, static_argnames="init", compiler_options={"xla_backend_optimization_level": 1})
def _draw(key: Key[Array, ""], init: Callable, densities: Float[Array, " P"]) -> Params:
    return gajax.init(key, init, len(densities), densities=densities)
