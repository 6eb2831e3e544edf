"""Training an autoencoder and evaluating its features, with and without a run directory."""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gajax
from experiments.autoencoder import layerwise, methods, records, report
from experiments.autoencoder.checks import check, load_data
from experiments.autoencoder.config import Config, population_multiple
from experiments.autoencoder.recorder import Recorder
from experiments.autoencoder.results import Results
from experiments.autoencoder.svm import chosen_parameters, fit_and_evaluate
from experiments.datasets.catalog import Dataset
from experiments.running import devices, memory, run_directory, runs, seed_axis
from experiments.running.cli import InputError
from experiments.running.meter import OnRow, Row
from experiments.running.progress import Progress
from experiments.running.runs import Job, Training


def _ignore(row: Row) -> None:
    del row


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    on_row: OnRow = _ignore,
) -> Results:
    """Train and evaluate; `on_row` is called with the metrics of each generation."""
    config = check(config)
    return runs.train(TRAINING, config, load_data(config, dataset), progress, on_row)


def run(config: Config, dataset: Dataset, directory: Path, title: str = "") -> Results:
    """Train with a live display and write everything into the directory."""
    return runs.run(TRAINING, config, dataset, directory, title)


def capacity(config: Config, dataset: Dataset) -> memory.Capacity:
    """How many seeds fit in memory together; InputError if not even one does."""
    shards = devices.count(config, population_multiple(config))
    if config.method not in methods.ALGORITHMS:
        return memory.Capacity(1, 0)
    images = len(dataset.train_images) - config.validation

    def needs(size: int) -> int:
        # Baselines train one network, but as long as a population of the configured size.
        evolved = replace(config, population_size=size) if config.is_evolving else config
        return methods.memory_needed(evolved, images) // shards

    widths = " ".join(map(str, config.layers))
    available = memory.capacity(needs, methods.network_count(config), "--layers", widths)
    return available._replace(runs=1) if shards > 1 else available


def train_together(job: Job) -> Iterator[Results]:
    """Train several seeds together, then evaluate them one by one.

    The training time of each is that of all.
    """
    config, *_ = configs = job.configs
    dataset, manager, resumed, started = job.dataset, job.manager, job.resumed, job.start_time()
    images = dataset.train_images.reshape(len(dataset.train_images), -1)
    trained_on = len(images) - config.validation
    parts = {
        "train": (images[:trained_on], dataset.train_labels[:trained_on]),
        "validation": (images[trained_on:], dataset.train_labels[trained_on:]),
        "test": (dataset.test_images.reshape(-1, images.shape[1]), dataset.test_labels),
    }
    if not config.validation:
        del parts["validation"]
    recorders = [
        Recorder(config.rate, methods.schedule(config, trained_on), display, on_row)
        for display, on_row in zip(job.progress_displays(), job.callbacks, strict=True)
    ]
    key = seed_axis.keys(job.seeds)
    indices = seed_axis.indices(key)
    latest: layerwise.Step | None = None

    def collect() -> tuple[Any, dict[str, Any]]:
        assert latest is not None
        trees, facts = latest.saved()
        facts["recorders"] = [recorder.meter.saved() for recorder in recorders]
        return trees, {**facts, "seconds": time.perf_counter() - started}

    def observe(step: layerwise.Step) -> None:
        nonlocal latest
        latest = step
        with manager.save_on_failure(collect) if manager else nullcontext():
            for recorder, index in zip(recorders, indices, strict=True):
                recorder.observe(step.of_seed(index))
        if manager:
            manager.step(step.info.done, collect)

    if resumed:
        for recorder, saved in zip(recorders, resumed.facts["recorders"], strict=True):
            recorder.meter.restore(saved)
    method = methods.METHODS[config.method]
    with (
        devices.mesh(config, population_multiple(config)),
        manager.defer_signals() if manager else nullcontext(),
    ):
        model, params = method(key, config, images[:trained_on], observe, resumed, job.progress)
        if manager and latest:
            manager.keep(collect)
    seconds = time.perf_counter() - started
    for config, recorder, index in zip(configs, recorders, indices, strict=True):
        trained = methods.Trained(model, seed_axis.take_seed(params, index))
        yield _evaluate(config, dataset, trained, parts, recorder, job.progress, seconds)


def _open_callback(config: Config, directory: Path, stack: ExitStack) -> OnRow:
    """Return a function that writes metrics into the directory."""
    del config
    file = run_directory.metrics_file(directory / "metrics.csv", report.COLUMNS)
    return stack.enter_context(file)


def _evaluate(
    config: Config,
    dataset: Dataset,
    trained: methods.Trained,
    parts: dict[str, tuple[Any, np.ndarray]],
    recorder: Recorder,
    progress: Progress,
    seconds: float,
) -> Results:
    """Evaluate a network and its features; `seconds` is its training time."""
    started = time.perf_counter()
    recorder.meter.finish()
    errors = {f"{name}_rmse": layerwise.rmse(*trained, part) for name, (part, _) in parts.items()}
    if not math.isfinite(errors["train_rmse"]):
        rate = config.rate
        raise InputError(f"--learning-rate must be lower than {rate}, with which training diverged")
    with progress.status("fitting the SVM"):
        features = {
            name: (np.asarray(layerwise.encode(*trained, jnp.asarray(part))), labels)
            for name, (part, labels) in parts.items()
        }
        svm, evaluations = fit_and_evaluate(
            features, c=config.svm_c, gamma=config.svm_gamma, seed=config.seed
        )
    summary: dict[str, Any] = {
        "method": config.method,
        "equal": config.equal,
        "activation": config.activation,
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "seed": config.seed,
    }
    for name, evaluation in evaluations.items():
        summary[f"{name}_accuracy"] = evaluation.accuracy
    summary |= {
        **errors,
        "classes": evaluations["test"].classes.tolist(),
        "class_error": evaluations["test"].class_error.tolist(),
        **chosen_parameters(svm, features["train"][0]),
        **recorder.meter.cost(),
        "seconds": seconds + time.perf_counter() - started,
        "gene_count": gajax.genes(trained.params),
        "density": float(gajax.density(jax.tree.map(lambda leaf: leaf[None], trained.params))[0]),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    return Results(config, dataset, trained, svm, evaluations["test"], recorder.meter.rows, summary)


TRAINING = Training(
    capacity,
    train_together,
    train,
    no_callback=_ignore,
    open_callback=_open_callback,
    save=report.save,
    table=report.table,
    seed_table=records.table,
)
