"""Benchmark of whole fronts: populations on a ladder of densities beside one network."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax

import gajax
from experiments.benchmark.measure import Row, Sizes, interleaved
from experiments.datasets.catalog import load
from experiments.front import algorithms, baselines, measures, networks
from experiments.front.checks import check
from experiments.front.config import Config


def fronts(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Whole runs on the embedded images, without compilation.

    The rival is one network that is pruned and regrown over so many batches.
    """
    dataset = load("mnist5k")
    config = check(Config(hidden=(sizes.front_hidden,)))
    shape = dataset.train_images.shape[1:]
    network = networks.make("autoencoder", (sizes.front_hidden,), shape, 10)
    data = networks.data(dataset.train_images, dataset.train_labels, jax.random.key(0))
    zero_loss = measures.zero_loss(network, data)

    def run(algorithm: gajax.Algorithm, population: Any) -> Any:
        for state, _ in gajax.evolve(algorithm, jax.random.key(1), population, data):  # noqa: B007
            pass
        return state.params

    def quality(params: Any) -> str:
        params = network.tidy(params)
        loss = measures.losses(network, params, data)
        value = measures.log_hypervolume(measures.densities(params), loss, zero_loss)
        return f"log hypervolume {value:.3f}"

    setting = check(Config(method="regrowth", learning_rate=0.01, sparse_learning_rate=0.1))
    moves = baselines.moves_of(sizes.regrown, regrowth=True)
    optimizer = algorithms.rising_with_sparsity(setting)
    pruning = gajax.pruning(
        network.loss_fn, optimizer=optimizer, batch_size=config.batch_size, moves=moves
    )
    rival = partial(run, pruning, algorithms.copies(jax.random.key(2), network.init, 1))
    name = f"one network, {sizes.regrown:,} batches, {quality(rival())}"
    for size in sizes.fronts:
        changes = {"population_size": size, "generations": sizes.front_generations, "budget": None}
        evolved = check(replace(config, **changes))
        algorithm = algorithms.ladder(evolved, network)
        population = algorithms.population(jax.random.key(2), evolved, network)
        front = partial(run, algorithm, population)
        seconds, of_rival = interleaved(front, rival, repeats=repeats)
        steps = sizes.front_generations * (evolved.refine_steps + 2)
        shown = f"{size} networks, {steps} steps"
        yield Row(11, "front", shown, seconds, None, {name: of_rival}, quality(front()))
