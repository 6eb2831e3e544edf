"""The algorithms of the methods that evolve, and their initial populations."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

import gajax
from experiments.front.config import ON_LADDER, Config
from experiments.front.networks import WEIGHT_BOUND, Network
from gajax.individual import all_but_biases
from gajax.types import Optimizer, Params, Plan

PLAIN_RATE = 10.0
"""Learning rate of NSGA-II(+gradient), the best of .1, 1 and 10 on held-out images."""

CHECKS = 20
"""Number of evaluations in the final refinement to keep the best state of an individual."""

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
    "sgd": partial(optax.sgd, momentum=0.9),
}

DIRECTIONS = {
    # A short memory of squares suits networks whose weights come and go.
    "adam": optax.scale_by_adam(b2=0.95),
    "rmsprop": optax.scale_by_rms(),
    "sgd": optax.trace(0.9),
}
"""The same without their learning rates."""

RATE_MUTATION = partial(gajax.mutation.scale, factor=1.5)
"""How genes of learning rates change, each by a factor or its inverse in each generation."""

ROUNDED = 1 + 1e-9
"""A budget times this is not exceeded by a sum of costs that is equal to it but for rounding."""


def densities(config: Config) -> Float[Array, " P"]:
    """Densities of the initial population."""
    if config.initial_densities == "graded":
        return gajax.linear_densities(config.size)
    ends = config.lowest_density or 1, 1.0
    if config.method in ON_LADDER:
        ends = config.highest_density or 1, ends[0]
    return jnp.geomspace(*ends, config.size)


def gemonn(config: Config, network: Network) -> gajax.Algorithm:
    """GEMONN without its final refinement."""
    refine = None
    if config.refine_steps:
        refine = gajax.Refine(sparse_optimizer(config), config.refine_steps, config.refine_every)
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
        optimizer=sparse_optimizer(config),
        batch_size=config.batch_size,
        steps=config.final_refine_steps,
        value_and_grad=network.value_and_grad,
        checks=CHECKS,
        chunk_size=config.chunk_size,
    )


def ladder(config: Config, network: Network, **changes: Any) -> gajax.Algorithm:
    """The ladder of densities, with as many generations as the budget pays for."""

    def of(generations: int) -> gajax.Algorithm:
        return gajax.ladder(
            network.loss_fn,
            densities=tuple(densities(config).tolist()),
            optimizer=rising_with_sparsity(config),
            hyper_mutation=RATE_MUTATION,
            batch_size=config.batch_size,
            generations=generations,
            steps=config.refine_steps,
            chunk_size=config.chunk_size,
            **changes,
        )

    if config.budget is None:
        return of(config.generations)
    one = generation_cost(of(1).stages(config.size, 3 * config.batch_size), 1)
    # The cost of another run, which may be the budget, is a whole number of generations but for
    # rounding.
    return of(max(1, min(config.generations, math.floor(ROUNDED * config.budget / one))))


def rising_with_sparsity(config: Config) -> Optimizer:
    """The optimiser, with a learning rate that rises from density 1 to density 0.002.

    With `rate_genes` it is multiplied by a gene of the individual.
    """
    given = config.optimizer, config.rate, config.sparse_learning_rate or config.rate
    return _rising(*given, config.rate_genes)


@cache  # so that equal algorithms are the same
def _rising(optimizer: str, dense: float, sparse: float, has_gene: bool) -> Optimizer:
    scale = gajax.scale_by_density(dense, sparse, may_be_zero=all_but_biases)
    if has_gene:
        return lambda hyper: optax.chain(DIRECTIONS[optimizer], scale, optax.scale(hyper["rate"]))
    return optax.chain(DIRECTIONS[optimizer], scale)


def individual(config: Config, params: Params) -> Any:
    """An individual with these parameters and, with `rate_genes`, a factor of learning rates."""
    if not config.rate_genes:
        return params
    return gajax.Individual(params, hyper={"rate": jnp.ones((), jnp.float32)})


CHANGES: dict[str, dict[str, Any]] = {
    "ladder": {},
    "ladder-no-mixing": {"mixing": 0.0},
    "ladder-no-survival": {"competes": False},
    "ladder-lineage": {},  # its initial population differs
    # Strangers that are sparse from the beginning, every lineage by itself.
    "independent": {"mixing": 0.0, "reach": (0.0, 0.0), "grow": 0.05},
}
"""What the methods on a ladder change."""

ALGORITHMS: dict[str, Callable[..., gajax.Algorithm]] = {
    **{name: partial(ladder, **changes) for name, changes in CHANGES.items()},
    "gemonn": gemonn,
    "nsga2": nsga2,
    "nsga2-gradient": partial(nsga2, optimizer=optax.sgd(PLAIN_RATE)),
    "nsga2-gradient-0": partial(nsga2, optimizer=gajax.sparse(optax.sgd(PLAIN_RATE))),
}
"""Maps evolutionary methods to functions `make(config, network)`."""


def generation_cost(stages: Plan, generation: int) -> float:
    """The cost of a generation."""
    costs = stages(generation)
    return sum(stage.gradient_examples + stage.forward_examples / 3 for stage in costs)


def is_refined(config: Config) -> bool:
    """Whether the evolution ends with a refinement."""
    return config.method == "gemonn" and config.final_refine_steps > 0


def population(key: Key[Array, ""], config: Config, network: Network) -> Any:
    """The initial population: copies of one network for the ladder, else sparse strangers."""
    is_related = config.method.startswith("ladder")
    draw = (
        partial(copies, size=config.size)
        if is_related
        else partial(_draw, densities=densities(config))
    )
    return jax.vmap(partial(individual, config))(draw(key, network.init))


@partial(jax.jit, static_argnames=("init", "size"))
def copies(key: Key[Array, ""], init: Callable, size: int) -> Params:
    """A population of copies of one network."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), init(key))


# Compiled with few optimisations, because it runs only once.
@partial(jax.jit, static_argnames="init", compiler_options={"xla_backend_optimization_level": 1})
def _draw(key: Key[Array, ""], init: Callable, densities: Float[Array, " P"]) -> Params:
    return gajax.init(key, init, len(densities), densities=densities)


def sparse_optimizer(config: Config) -> optax.GradientTransformation:
    """The optimiser under which zeros stay zero."""
    return _sparse(config.optimizer, config.rate)


@cache  # so that equal algorithms are the same
def _sparse(optimizer: str, rate: float) -> optax.GradientTransformation:
    return gajax.sparse(OPTIMIZERS[optimizer](rate))
