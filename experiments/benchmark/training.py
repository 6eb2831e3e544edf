"""Benchmark of training and scoring a population against the machine's matrix products."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Int

import gajax
from experiments.autoencoder import layerwise
from experiments.autoencoder.model import TiedAutoencoder
from experiments.benchmark.measure import (
    Function,
    Row,
    Sizes,
    measure,
    product,
    products,
    rivals_or_missing,
    training_operations,
)
from gajax import evaluation, gradients

LEARNING_RATE = 1e-3


class Task(NamedTuple):
    """A population of tied autoencoders and their training images."""

    layers: tuple[int, ...]
    loss_fn: Callable
    population: dict  # [P, ...]
    data: gajax.Data

    @property
    def name(self) -> str:
        """The layers' widths."""
        return "-".join(map(str, self.layers))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The first layer's weights [P, I, O] and the images uint8 [N, I]."""
        kernels = self.population["blocks_0"]["kernel"]
        return np.asarray(kernels), np.asarray(self.data.examples["inputs"])


def task(layers: tuple[int, ...], population_size: int, examples: int) -> Task:
    """Draw initial networks as `mnist_ga` does, and random images."""
    model = TiedAutoencoder(layers)
    loss_fn = layerwise.reconstruction_loss(model, layerwise.whole_phase(layers, 1, 1), "image")
    population = layerwise.draw(jax.random.key(1), model, population_size)
    images = jax.random.bits(jax.random.key(2), (examples, layers[0]), "uint8")
    return Task(
        layers, loss_fn, population, gajax.Data({"inputs": images}, jax.random.key(3), ({},))
    )


def matrix_products(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """The rate of matrix products, from which other floors are computed."""
    side = sizes.product
    row = measure(
        1,
        "matrix product",
        f"{side:,} x {side:,}",
        product(side),
        repeats,
        rivals=rivals_or_missing("torch", torch_product, side),
    )
    rate = f"{2e-9 * side**3 / row.seconds:.0f} GFLOP/s"
    yield row._replace(note="; ".join(filter(None, [rate, row.note])))


def fine_tuning(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Gradient steps of a population by Adam, as in `mnist_ga`."""
    for layers, shallow in ((sizes.layers[:2], True), (sizes.layers, False)):
        trained = task(layers, sizes.population, sizes.trained)
        operations = training_operations(layers) * sizes.trained * sizes.population
        for batch in sizes.batches:
            yield measure(
                2,
                f"fine-tuning {trained.name}",
                f"{sizes.population} x {sizes.trained:,} examples, batch {batch}",
                trainer(trained, batch),
                repeats,
                floor=products(sizes.product, operations),
                rivals=rivals_or_missing("torch", torch_trainers, trained, batch)
                if shallow
                else None,
            )


def scoring(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """The losses of a population on a whole training set."""
    layers = sizes.layers[:2]
    scored = task(layers, sizes.population, sizes.scored)
    operations = 2 * layerwise.whole_phase(layers, 1, 1).work * sizes.scored * sizes.population
    yield measure(
        3,
        f"scoring {scored.name}",
        f"{sizes.population} x {sizes.scored:,} images",
        scorer(scored),
        repeats,
        floor=products(sizes.product, operations),
        rivals=rivals_or_missing("torch", torch_scorers, scored),
    )


def trainer(task: Task, batch: int) -> Function:
    """An epoch of Adam; returns the population, optimiser states and summed losses [P]."""
    optimizer = optax.adam(LEARNING_RATE)
    gradient = jax.value_and_grad(task.loss_fn)

    @jax.jit
    def train(population: dict, state: Any, data: gajax.Data) -> Any:
        order = epoch(data, batch)
        setting = gradient, optimizer, population, state, data, order
        population, state, total = gradients.gradient_steps(*setting, 0, len(order))
        return population, state, total.loss

    return partial(train, task.population, jax.vmap(optimizer.init)(task.population), task.data)


def epoch(data: gajax.Data, batch: int) -> Int[Array, "T B"]:
    """The batches of the first epoch."""
    batches = evaluation.example_count(data) // batch
    return evaluation.batch_order(data, 0, batches, batch_size=batch)


def scorer(task: Task) -> Function:
    """Scoring, which returns the mean losses [P]."""
    score = jax.jit(partial(evaluation.losses, task.loss_fn))
    return partial(score, task.population, task.data)


def torch_product(side: int) -> dict[str, Function]:
    """The same matrix product in PyTorch."""
    from experiments.benchmark import pytorch

    return {"torch": pytorch.square(side)}


def torch_trainers(task: Task, batch: int) -> dict[str, Function]:
    """The same epoch in PyTorch, in two implementations that return the summed losses [P]."""
    from experiments.benchmark import pytorch

    order = np.asarray(epoch(task.data, batch))
    return pytorch.trainers(*task.arrays(), order, LEARNING_RATE)


def torch_scorers(task: Task) -> dict[str, Function]:
    """The same scoring in PyTorch, in two implementations."""
    from experiments.benchmark import pytorch

    return pytorch.scorers(*task.arrays())
