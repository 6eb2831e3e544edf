"""Benchmark of generations of GEMONN and of a plain genetic algorithm."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import gajax
from experiments.benchmark.measure import (
    Floor,
    Function,
    Row,
    Sizes,
    measure,
    products,
    rivals_or_missing,
    stateful,
    training_operations,
    weights,
)
from experiments.front import networks
from gajax import breeding, crossover, mutation, selection
from gajax import population as populations
from gajax.types import Params

STANDARD_DEVIATION = 0.01


def gemonn(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """A generation with the published settings, and its crossover alone."""
    pixels, hidden = layers = sizes.layers[:2]
    network = networks.make("autoencoder", (hidden,), (pixels, 1, 1), 10)
    densities = gajax.linear_densities(sizes.front)
    population = gajax.init(jax.random.key(1), network.init, sizes.front, densities=densities)
    images = jax.random.bits(jax.random.key(2), (4 * sizes.front_batch, pixels), jnp.uint8)
    data = gajax.Data({"images": images}, jax.random.key(3))
    genes = gajax.genes(gajax.take(population, 0))
    key = jax.random.key(4)
    for stale_parents in (True, False):
        algorithm = gajax.gemonn(
            network.loss_fn,
            batch_size=sizes.front_batch,
            value_and_grad=network.value_and_grad,
            stale_parents=stale_parents,
        )

        stages = algorithm.stages(sizes.front, len(images))(1)

        def step(state: Any, stages: tuple[gajax.Stage, ...] = stages) -> Any:
            return gajax.run_generations(stages, key, state, data, 1)[0]

        forward = 0 if stale_parents else 4 * weights(layers)
        operations = (training_operations(layers) + forward) * sizes.front_batch * sizes.front
        yield measure(
            4,
            f"GEMONN generation, {'stale' if stale_parents else 're-scored'} parents",
            f"{sizes.front} x {genes:,} genes, batch {sizes.front_batch}",
            stateful(step, gajax.start(algorithm, key, population, data)),
            repeats,
            floor=products(sizes.product, operations),
        )
    pairs = sizes.front // 2
    first = gajax.take(population, slice(pairs))
    second = gajax.take(population, slice(pairs, 2 * pairs))
    signs = jax.tree.map(lambda leaf: jnp.sign(leaf).astype(jnp.int8), (second, first))
    yield measure(
        4,
        "gradient-guided SBX",
        f"{pairs} pairs of {genes:,} genes",
        guided_sbx(first, second, *signs),
        repeats,
        floor=Floor(reading_and_writing(first, second, *signs)),
    )


def guided_sbx(*couples: Params) -> Function:
    """Crossover of pairs [K, ...] as in GEMONN; returns two children per pair."""

    @jax.jit
    def cross(key: jax.Array, *couples: Params) -> Any:
        keys = jax.random.split(jax.random.fold_in(key, 0), gajax.size(couples))
        return populations.map_individuals(
            lambda pair: crossover.gradient_guided_sbx(*pair), (keys, *couples)
        )

    return partial(cross, jax.random.key(5), *couples)


def reading_and_writing(*couples: Params) -> Function:
    """Read parents and signs of pairs [K, ...] and write two children, once each."""

    @jax.jit
    def add(first: Params, second: Params, *signs: Params) -> Any:
        return jax.tree.map(jnp.add, (first, second), signs)

    return partial(add, *couples)


def genetic(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """A generation of a genetic algorithm without gradients, from given losses to the children.

    All individuals are children of the better half, by uniform crossover and Gaussian mutation of
    every gene. The floor is one random word per gene.
    """
    individuals, genes = sizes.ga
    losses = jax.random.uniform(jax.random.key(1), (individuals,))
    draw = jax.jit(lambda key: jax.random.bits(jax.random.fold_in(key, 0), sizes.ga))
    yield measure(
        6,
        "GA generation without gradients",
        f"{individuals:,} x {genes:,} genes",
        generation(losses, genes),
        repeats,
        floor=Floor(partial(draw, jax.random.key(2))),
        rivals=rivals_or_missing("evosax", evosax_generation, losses, genes),
    )


def generation(losses: jax.Array, genes: int) -> Function:
    """The part of `gajax.ga` between scoring and training; returns children [P, G], a counter."""
    pairs = len(losses) // 2
    noise = partial(mutation.gaussian, rate=1.0, scale=STANDARD_DEVIATION)

    @partial(jax.jit, donate_argnames="state")
    def breed(key: jax.Array, state: Any, losses: jax.Array) -> Any:
        parents, number = state
        key_select, key_mate, key_breed = jax.random.split(jax.random.fold_in(key, number), 3)
        elite = selection.truncation(key_select, losses, pairs)
        couples = list(elite[jax.random.randint(key_mate, (2, pairs), 0, pairs)])
        born = breeding.breed(crossover.uniform, noise, key_breed, parents, couples, 2 * pairs)
        return born, number + 1

    state = jax.random.normal(jax.random.key(4), (len(losses), genes)), jnp.int32(0)
    return stateful(lambda state: breed(jax.random.key(3), state, losses), state)


def evosax_generation(losses: jax.Array, genes: int) -> dict[str, Function]:
    """The same by evosax's `SimpleGA`; returns its state."""
    import optax
    from evosax.algorithms import SimpleGA  # pyright: ignore[reportMissingImports]

    noise = optax.constant_schedule(STANDARD_DEVIATION)
    algorithm = SimpleGA(len(losses), jnp.zeros(genes), std_schedule=noise)
    params = algorithm.default_params.replace(crossover_rate=0.5)

    @partial(jax.jit, donate_argnames="state")
    def ask_and_tell(key: jax.Array, state: Any, losses: jax.Array) -> Any:
        key_ask, key_tell = jax.random.split(jax.random.fold_in(key, state.generation_counter))
        children, state = algorithm.ask(key_ask, state, params)
        return algorithm.tell(key_tell, children, losses, state, params)[0]

    population = jax.random.normal(jax.random.key(4), (len(losses), genes))
    state = algorithm.init(jax.random.key(5), population, losses, params)
    return {"evosax": stateful(partial(ask_and_tell, jax.random.key(3), losses=losses), state)}
