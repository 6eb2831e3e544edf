"""Evolving a front and measuring it on whole sets, with and without a run directory."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

import gajax
from experiments import devices, front_methods, front_report, fronts, networks, run_directory
from experiments.cli import save_config
from experiments.datasets import Dataset, load
from experiments.front_recorder import FrontRecorder
from experiments.fronts import Front
from experiments.gemonn import Config, check, check_against, multiple
from experiments.networks import Network
from experiments.progress import Progress
from gajax.types import Params

SNAPSHOTS = (1, 10, 100)
"""Generations whose best network is drawn, beside the last one's."""

_PREVIEW = 5_000  # training images that decide the fronts drawn for before and after evolution


class Results(NamedTuple):
    """What a training gives: `rows` has one for each generation, `summary` is ready for JSON."""

    config: Config
    dataset: Dataset
    network: Network
    population: Params  # [P, ...], the front first, sparsest first
    front: Front
    everybody: Front  # the whole population, in its order
    stages: dict[str, tuple[np.ndarray, np.ndarray]]  # density and loss, on some training images
    snapshots: dict[int, Params]  # generation to its best network
    rows: list[dict[str, Any]]
    summary: dict[str, Any]


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    on_step: Callable[[fronts.Step, float], None] = lambda step, zero_loss: None,
) -> Results:
    """Evolve, then measure the front on whole sets.

    `on_row` gets the metrics of each generation as it ends, `on_step` every step of the method and
    the loss of the network of zeros.
    """
    config = check(config)
    dataset = dataset or load(config.dataset, config.data_dir)
    check_against(config, dataset)
    progress = progress or Progress(quiet=True)
    started = time.perf_counter()
    key_order, key_method = jax.random.split(jax.random.key(config.seed))
    parts = _parts(dataset, config.validation, key_order)
    shape, classes = dataset.train_images.shape[1:], int(dataset.train_labels.max()) + 1
    kind = config.model, config.hidden or (), shape, classes
    network = networks.make(*kind)
    learner = networks.make(*kind, config.precision)
    preview = gajax.Data(
        jax.tree.map(lambda leaf: leaf[:_PREVIEW], parts["train"].examples), key_order
    )
    zero_loss = fronts.zero_loss(network, parts["train"])
    recorder = FrontRecorder(config, zero_loss, progress, on_row)
    stages: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    snapshots: dict[int, Params] = {}
    step = None
    with devices.mesh(config, multiple(config)):
        steps = front_methods.METHODS[config.method](key_method, config, learner, parts["train"])
        for step in steps:
            recorder.observe(step)
            on_step(step, zero_loss)
            generation = int(step.info.generation)
            if step.phase == "evolution" and step.info.done:
                if generation == 0:
                    loss = fronts.losses(network, step.params, preview)
                    stages["before evolution"] = (step.density, loss)
                if generation in SNAPSHOTS:
                    snapshots[generation] = _best(step)
            elif step.phase == "evolved":
                loss = fronts.losses(network, step.params, preview)
                stages["after evolution"] = (step.density, loss)
        assert step is not None, "every method takes steps"
        step = step._replace(params=_whole(step.params))
    snapshots[recorder.generation] = _best(step)
    with progress.status("measuring the front on whole sets"):
        order, front, everybody = _measure(network, step, parts)
    population = gajax.take(step.params, jnp.asarray(order))
    last = "after evolution" if len(stages) < 2 else "after refinement"
    stages[last] = (front.density, front.train_loss)
    summary: dict[str, Any] = {
        "method": config.method,
        "model": config.model,
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "seed": config.seed,
        **_figures(front, zero_loss),
        "zero_loss": zero_loss,
        "gene_count": gajax.genes(gajax.take(population, 0)),
        **recorder.cost(),
        "seconds": time.perf_counter() - started,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    if names := front_methods.NAMES.get(config.method):
        summary["names"] = [names[index] for index in order]
    if config.validation:
        loss = fronts.losses(network, population, parts["validation"])[: len(front.density)]
        summary["validation_log_hypervolume"] = fronts.log_hypervolume(
            front.density, loss, zero_loss
        )
    return Results(
        config=config,
        dataset=dataset,
        network=network,
        population=population,
        front=front,
        everybody=everybody,
        stages=stages,
        snapshots=snapshots,
        rows=recorder.rows,
        summary=summary,
    )


def run(config: Config, dataset: Dataset, directory: Path) -> Results:
    """Train with a live display and leave everything in the directory."""
    save_config(replace(config, config=None, out=None), directory / "config.json")
    columns = front_report.columns(config)
    watch = {"on_step": front_report.preview(config, directory)} if config.plot else {}
    with (
        Progress(quiet=config.quiet) as progress,
        run_directory.metrics_file(directory / "metrics.csv", columns) as on_row,
    ):
        results = train(config, dataset=dataset, progress=progress, on_row=on_row, **watch)
        with progress.status("drawing the figures"):
            front_report.save(results, directory)
    return results


def _parts(dataset: Dataset, validation: int, key_order: Key[Array, ""]) -> dict[str, gajax.Data]:
    """The sets as data of the algorithms; the last `validation` training images are a set."""
    learned = len(dataset.train_images) - validation
    sets = {
        "train": (dataset.train_images[:learned], dataset.train_labels[:learned]),
        "validation": (dataset.train_images[learned:], dataset.train_labels[learned:]),
        "test": (dataset.test_images, dataset.test_labels),
    }
    return {
        name: gajax.Data(
            {
                "images": jnp.asarray(images.reshape(len(images), -1)),
                "labels": jnp.asarray(labels),
            },
            key_order,
        )
        for name, (images, labels) in sets.items()
        if len(images)
    }


def _best(step: fronts.Step) -> Params:
    """The individual of lowest loss on its latest batch."""
    index = int(np.argmin(np.nan_to_num(step.info.loss, nan=np.inf)))
    return _whole(gajax.take(step.params, index))


def _whole(params: Params) -> Params:
    """Parameters that were shared out to devices, on one."""
    return jax.tree.map(jnp.asarray, gajax.sharding.gather(params))


def _measure(
    network: Network, step: fronts.Step, parts: dict[str, gajax.Data]
) -> tuple[np.ndarray, Front, Front]:
    """The order that puts the front at the start, the front, and everybody in that order."""
    train_loss = fronts.losses(network, step.params, parts["train"])
    front = fronts.nondominated(step.density, train_loss)
    others = np.setdiff1d(np.arange(len(train_loss)), front)
    order = np.concatenate([front, others[np.lexsort((train_loss[others], step.density[others]))]])
    test_loss = fronts.losses(network, step.params, parts["test"])[order]
    accuracy = None
    if network.logits:
        accuracy = fronts.accuracies(network, step.params, parts["test"])[order]
    everybody = Front(step.density[order], train_loss[order], test_loss, accuracy)
    return order, everybody.cut(len(front)), everybody


def _figures(front: Front, zero_loss: float) -> dict[str, Any]:
    """The front in a few numbers: its hypervolume, its knee and its most accurate member."""
    objectives = jnp.stack([jnp.asarray(front.density), jnp.asarray(front.train_loss)], axis=1)
    knee = int(gajax.pareto.knee(objectives))
    values: dict[str, Any] = {
        "log_hypervolume": fronts.log_hypervolume(front.density, front.train_loss, zero_loss),
        "front_size": len(front.density),
    }
    for name, index in (("knee", knee), ("best", len(front.density) - 1)):
        values[f"{name}_density"] = float(front.density[index])
        values[f"{name}_train_loss"] = float(front.train_loss[index])
        values[f"{name}_test_loss"] = float(front.test_loss[index])
        if front.test_accuracy is not None:
            values[f"{name}_test_accuracy"] = float(front.test_accuracy[index])
    return values
