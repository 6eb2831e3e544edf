"""Pre-training of encoders, selection on held-out images, and evaluation as classifiers."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gajax
from experiments.classify import finetuning
from experiments.classify.config import ClassifyConfig
from experiments.datasets.catalog import Dataset
from experiments.front import measures, networks, training
from experiments.front.networks import Network
from experiments.front.results import Results
from experiments.front.rows import NAMES
from experiments.running import run_directory
from experiments.running.progress import Progress
from gajax.types import Params

CANDIDATES = 10
"""Evenly spaced members of a front that are evaluated on the held-out images."""

NO_PRETRAINING = "no pre-training"
DENSE = ("SGD 0.1", "Adam 0.1", "Adam 0.01", "Adam 0.001")
"""Dense encoders to evaluate, as published; the others of `descent` learn too slowly."""


class Encoder(NamedTuple):
    """An encoder; `params` are None for random ones."""

    name: str
    params: Params | None
    density: float
    validation_accuracy: float | None = None


def run(config: ClassifyConfig, dataset: Dataset, directory: Path) -> None:
    """Pre-train and classify with a live display; write the config and finally the summary."""
    started = time.perf_counter()
    run_directory.save_config(config, directory / "config.json")
    (method,) = config.methods
    shape, classes = dataset.train_images.shape[1:], int(dataset.train_labels.max()) + 1
    network = networks.make(config.model, config.hidden or (), shape, classes)
    classifier = finetuning.classifier(network, dataset.train_images[0].size, classes)
    cost = 0.0
    with Progress(quiet=config.quiet, title=f"{dataset.name}, {method}: ") as progress:
        if method == "none":
            encoders = [Encoder(NO_PRETRAINING, None, 1.0)]
        else:
            results = training.train(config, dataset=dataset, progress=progress)
            cost = results.summary["cost"]
            with progress.status("choosing the member of the front"):
                encoders = _choose_encoders(config, dataset, classifier, results)
        with progress.status("training the classifiers"):
            rows = [_evaluate(config, dataset, classifier, encoder) for encoder in encoders]
    summary = {
        "method": method,
        "dataset": config.dataset,
        "dataset_source": dataset.source,
        "seed": config.seed,
        "rows": rows,
        "cost": cost,
        "seconds": time.perf_counter() - started,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    run_directory.save_summary(summary, directory)


def _choose_encoders(
    config: ClassifyConfig,
    dataset: Dataset,
    classifier: Network,
    results: Results,
) -> list[Encoder]:
    """Choose the member of the front with the best accuracy on held-out images.

    The dense networks of `descent` are methods of their own, so all are returned.
    """
    population = jax.tree.map(jnp.asarray, results.population)
    names = results.summary.get("names")
    if names:
        indices = {name: names.index(name) for name in DENSE}
        return [
            Encoder(name, gajax.take(population, index), float(results.members.density[index]))
            for name, index in indices.items()
        ]
    density = results.front.density
    tried = np.unique(np.linspace(0, len(density) - 1, CANDIDATES).round().astype(int))
    candidates = gajax.take(population, jnp.asarray(tried))
    start = len(dataset.train_images) - config.validation
    key_order, key_init = _keys(config)
    train, held_out = (
        networks.data(dataset.train_images[part], dataset.train_labels[part], key_order)
        for part in (slice(start), slice(start, None))
    )
    members = finetuning.population(key_init, classifier, 1, candidates)
    trained = finetuning.train(classifier, members, train, keep_zeros=True)
    accuracies = measures.accuracies(classifier, trained, held_out)
    best = int(np.argmax(accuracies))
    (method,) = config.methods
    index = int(tried[best])
    chosen = gajax.take(population, index)
    return [Encoder(NAMES[method], chosen, float(density[index]), float(accuracies[best]))]


def _evaluate(
    config: ClassifyConfig, dataset: Dataset, classifier: Network, encoder: Encoder
) -> dict[str, Any]:
    """Test accuracies of the repeats with all weights free and, if there are any, zeros kept."""
    key_order, key_init = _keys(config)
    train = networks.data(dataset.train_images, dataset.train_labels, key_order)
    test = networks.data(dataset.test_images, dataset.test_labels, key_order)
    params = encoder.params and jax.tree.map(lambda leaf: leaf[None], encoder.params)
    classifiers = finetuning.population(key_init, classifier, config.repeats, params)

    def accuracies(keep_zeros: bool) -> list[float]:
        trained = finetuning.train(classifier, classifiers, train, keep_zeros=keep_zeros)
        return [float(value) for value in measures.accuracies(classifier, trained, test)]

    return {
        "name": encoder.name,
        "density": encoder.density,
        "validation_accuracy": encoder.validation_accuracy,
        "kept": accuracies(True) if encoder.density < 1 else None,
        "free": accuracies(False),
    }


def _keys(config: ClassifyConfig) -> tuple[Any, Any]:
    """Keys of the order of images and of the initial classifiers, shared by all methods."""
    order, init = jax.random.split(jax.random.key(config.seed))
    return order, init
