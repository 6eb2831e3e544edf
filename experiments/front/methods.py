"""Methods of computing a front, baselines included."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

import gajax
from experiments.front import baselines, lineage
from experiments.front.algorithms import (
    ALGORITHMS,
    CHECKS,
    ROUNDED,
    densities,
    generation_cost,
    individual,
    is_refined,
    population,
    refinement,
    rising_with_sparsity,
)
from experiments.front.config import ON_LADDER, Config
from experiments.front.measures import Step
from experiments.front.networks import Network
from experiments.front.rows import OF_DESCENT
from experiments.running import memory, seed_axis, steps
from experiments.running.checkpoints import Checkpoint
from experiments.running.cli import require
from experiments.running.steps import Watch
from gajax.algorithms.refinement import budgets, generation_count
from gajax.individual import genes_of

Method = Callable[..., Iterator[Step]]


def budget(config: Config) -> float:
    """The budget, by default the cost of one batch for each offspring of all generations."""
    offspring = config.generations * config.size * config.batch_size
    return offspring if config.budget is None else config.budget


def expected_costs(config: Config, network: Network, examples: int) -> tuple[float, float]:
    """The costs of the evolution, infinite without a budget, and of the final refinement.

    The latter depends on the densities, of which those of the initial population are known.
    """
    if config.method not in ALGORITHMS or config.lineage:
        return budget(config), 0.0
    reserve = _refinement_cost(densities(config), config)
    if config.budget is None:
        return math.inf, reserve
    stages = ALGORITHMS[config.method](config, network).stages(config.size, examples)
    spent = generation_cost(stages, 0)
    for generation in range(1, config.generations + 1):
        following = generation_cost(stages, generation)
        if spent + following + reserve > ROUNDED * config.budget:
            break
        spent += following
    return spent, reserve


def require_budget(config: Config, network: Network, examples: int) -> None:
    """Raise InputError if an evolution cannot end its first generation within the budget."""
    if config.budget is None or config.method not in ALGORITHMS:
        return
    if config.lineage:
        batch_sizes = lineage.batch_sizes(config)
        limited = replace(config, batch_size=batch_sizes[1])
        stages = ALGORITHMS[config.method](limited, network).stages(config.size, examples)
        lowest = generation_cost(stages, 1) / (1 - config.lineage)
        lowest = max(lowest, lineage.FEWEST * batch_sizes[0] / config.lineage)
        expected = (
            f"{math.ceil(lowest):,} or more, with a lineage and a generation of {config.method}"
        )
        require(config.budget >= lowest, "--budget", f"{config.budget:,.0f}", expected)
        return
    stages = ALGORITHMS[config.method](config, network).stages(config.size, examples)
    reserve = _refinement_cost(densities(config), config)
    lowest = sum(generation_cost(stages, generation) for generation in (0, 1)) + reserve
    parts = "its first generation" + (" and its final refinement" if reserve else "")
    expected = f"{math.ceil(lowest):,} or more, the cost of {config.method} with {parts}"
    require(ROUNDED * config.budget >= lowest, "--budget", f"{config.budget:,.0f}", expected)


def memory_needed(config: Config, network: Network, examples: Any) -> int:
    """Estimate the peak bytes of an evolution from the shapes of the examples."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    one = jax.eval_shape(lambda key: individual(config, network.init(key)), key)
    common = one, config.size, gajax.Data(examples, key)
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
    baseline: Callable[[Config], Callable[..., Iterator[Step]]],
) -> Iterator[Step]:
    """Run the baseline that `baseline(config)` gives, for the budget."""
    return baseline(config)(
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
    if config.lineage:
        yield from lineage.evolve(key, config, network, data, resumed, watch)
        return
    each = partial(seed_axis.map_seeds, key)
    key_init, key_run, key_refine = seed_axis.split(key, 3)
    individuals = each(lambda key: population(key, config, network), key_init)
    in_refinement = resumed is not None and resumed.facts["phase"] == "refinement"
    if not in_refinement:
        setting = ALGORITHMS[config.method](config, network), key_run, individuals, data
        step = None
        for step in _evolution(setting, config, resumed, watch):
            yield step
        assert step is not None, "there is always generation 0"
        if not is_refined(config):
            return
        yield step._replace(phase="evolved")
        individuals, resumed = step.params, None
    algorithm = refinement(config, network)
    walk = steps.evolve((algorithm, key_refine, individuals, data), resumed=resumed, watch=watch)
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
    stages = algorithm.stages(config.size, gajax.size(data.examples, axis=key.ndim))
    spent = resumed.facts["spent"] if resumed else 0.0
    is_old = resumed is not None
    generations = None if config.method in ON_LADDER else config.generations
    walk = steps.evolve(setting, generations=generations, resumed=resumed, watch=watch)
    for state, info in walk:
        density = jax.device_get(state.objectives["density"])
        spent += 0.0 if is_old else _cost(info)
        is_old = False
        facts = {"phase": "evolution", "spent": spent}
        saved = state, {**facts, **steps.facts(info)}
        yield Step(info, genes_of(state.params), density, saved=saved)
        if info.done and config.budget is not None:  # it may be larger than that of a saved state
            reserve = _refinement_cost(density, config)
            following = generation_cost(stages, info.generation + 1) + reserve
            if spent + following > ROUNDED * config.budget:
                return


def _pruning(config: Config, *, regrowth: bool) -> Callable[..., Iterator[Step]]:
    optimizer = rising_with_sparsity(config)
    return partial(baselines.pruning, optimizer=optimizer, regrowth=regrowth)


METHODS: dict[str, Method] = {
    **dict.fromkeys(ALGORITHMS, evolve),
    "descent": partial(run_baseline, baseline=lambda config: baselines.descent),
    "pruning": partial(run_baseline, baseline=partial(_pruning, regrowth=False)),
    "regrowth": partial(run_baseline, baseline=partial(_pruning, regrowth=True)),
}
"""Maps names to `method(key, config, network, data, resumed, watch)`, an iterator of steps.

With a checkpoint, the first step is the saved one.
"""

NAMES = {"descent": OF_DESCENT}
"""Names of individuals that are separate methods."""


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
