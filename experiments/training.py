"""Training an autoencoder and judging its features by an SVM, with and without a run directory."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gajax
from experiments import devices, layerwise, methods, report, run_directory
from experiments.classifier import Verdict, assess, chosen_parameters
from experiments.cli import InputError, save_config
from experiments.datasets import Dataset, load
from experiments.mnist_ga import Config, check, check_against, multiple
from experiments.progress import Progress
from experiments.recorder import Recorder


class Results(NamedTuple):
    """What a training gives: `rows` has one for each generation, `summary` is ready for JSON."""

    config: Config
    dataset: Dataset
    trained: methods.Trained
    svm: Any
    verdict: Verdict  # on the test set
    rows: list[dict[str, Any]]
    summary: dict[str, Any]


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Results:
    """Train, then judge by the SVM; `on_row` gets the metrics of each generation as it ends."""
    config = check(config)
    dataset = dataset or load(config.dataset, config.data_dir)
    check_against(config, dataset)
    progress = progress or Progress(quiet=True)
    started = time.perf_counter()
    images = dataset.train_images.reshape(len(dataset.train_images), -1)
    learned = len(images) - config.validation
    parts = {
        "train": (images[:learned], dataset.train_labels[:learned]),
        "validation": (images[learned:], dataset.train_labels[learned:]),
        "test": (dataset.test_images.reshape(-1, images.shape[1]), dataset.test_labels),
    }
    if not config.validation:
        del parts["validation"]
    recorder = Recorder(methods.schedule(config, learned), progress, on_row)
    key = jax.random.key(config.seed)
    with devices.mesh(config, multiple(config)):
        trained = methods.METHODS[config.method](key, config, images[:learned], recorder.observe)
    errors = {f"{name}_rmse": layerwise.rmse(*trained, part) for name, (part, _) in parts.items()}
    if not math.isfinite(errors["train_rmse"]):
        rate = config.learning_rate
        raise InputError(f"--learning-rate must be lower than {rate}, by which training diverged")
    with progress.status("fitting the SVM"):
        features = {
            name: (np.asarray(layerwise.encode(*trained, jnp.asarray(part))), labels)
            for name, (part, labels) in parts.items()
        }
        svm, verdicts = assess(features, c=config.svm_c, gamma=config.svm_gamma, seed=config.seed)
    summary: dict[str, Any] = {
        "method": config.method,
        "activation": config.activation,
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "seed": config.seed,
    }
    for name, verdict in verdicts.items():
        summary[f"{name}_accuracy"] = verdict.accuracy
    summary |= {
        **errors,
        "class_error": verdicts["test"].class_error.tolist(),
        **chosen_parameters(svm, features["train"][0]),
        **recorder.cost(),
        "seconds": time.perf_counter() - started,
        "gene_count": gajax.genes(trained.params),
        "density": float(gajax.density(jax.tree.map(lambda leaf: leaf[None], trained.params))[0]),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    return Results(config, dataset, trained, svm, verdicts["test"], recorder.rows, summary)


def run(config: Config, dataset: Dataset, directory: Path) -> Results:
    """Train with a live display and leave everything in the directory."""
    save_config(replace(config, config=None, out=None), directory / "config.json")
    with (
        Progress(quiet=config.quiet) as progress,
        run_directory.metrics_file(directory / "metrics.csv", report.COLUMNS) as on_row,
    ):
        results = train(config, dataset=dataset, progress=progress, on_row=on_row)
        with progress.status("drawing the figures"):
            report.save(results, directory)
    return results
