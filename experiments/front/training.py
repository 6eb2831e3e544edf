"""Evolving a front and evaluating it on whole sets, with and without a run directory."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

import gajax
from experiments.datasets.catalog import Dataset
from experiments.front import measures, methods, networks, records, report
from experiments.front.checks import check, load_data
from experiments.front.config import Config, population_multiple
from experiments.front.networks import Network
from experiments.front.recorder import FrontRecorder
from experiments.front.results import Results
from experiments.front.run import FrontRun, Setting, gathered
from experiments.running import devices, memory, run_directory, runs, seed_axis
from experiments.running.meter import OnRow
from experiments.running.progress import Progress
from experiments.running.runs import Job, Training

_COPIES = 24
"""Approximate copies of the network in memory for baselines without a population."""

OnStep = Callable[[measures.Step, float], None]
"""Called with each step of the method and the loss of the all-zero network."""


def _ignore(*_: object) -> None:
    pass


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    on_row: OnRow = _ignore,
    on_step: OnStep = _ignore,
) -> Results:
    """Evolve a front and evaluate it on whole sets."""
    config = check(config)
    return runs.train(TRAINING, config, load_data(config, dataset), progress, (on_row, on_step))


def run(config: Config, dataset: Dataset, directory: Path, title: str = "") -> Results:
    """Evolve with a live display and write everything into the directory."""
    return runs.run(TRAINING, config, dataset, directory, title)


def capacity(config: Config, dataset: Dataset) -> memory.Capacity:
    """How many seeds fit in memory together.

    InputError if not even one does, or if the budget is too small for a generation.
    """
    shards = devices.count(config, population_multiple(config))
    network, _ = _networks(config, dataset)
    widths = " ".join(map(str, config.hidden or ()))
    if config.method not in methods.ALGORITHMS:
        copies = _COPIES * memory.size(jax.eval_shape(network.init, jax.random.key(0)))
        available = memory.capacity(lambda count: count * copies, 1, "--hidden", widths)
        return available._replace(runs=1)
    images = len(dataset.train_images) - config.validation
    examples = {
        "images": jax.ShapeDtypeStruct((images, dataset.train_images[0].size), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((images,), jnp.int32),
    }

    def needs(size: int) -> int:
        resized = replace(config, population_size=size)
        return methods.memory_needed(resized, network, examples) // shards

    available = memory.capacity(needs, config.size, "--hidden", widths)
    methods.require_budget(config, network, images)
    # With a reserve for the final refinement, seeds differ in their number of generations.
    is_separate = config.budget is not None and methods.is_refined(config)
    is_separate |= bool(config.lineage)
    return available._replace(runs=1) if is_separate or shards > 1 else available


def train_together(job: Job) -> Iterator[Results]:
    """Evolve several seeds together, then evaluate them one by one.

    The training time of each is that of all. Callbacks are pairs of `OnRow` and `OnStep`.
    """
    config, *_ = configs = job.configs
    dataset, manager, resumed, started = job.dataset, job.manager, job.resumed, job.start_time()
    key = seed_axis.keys(job.seeds)
    key_order, key_method = seed_axis.split(key)
    parts = _parts(dataset, config.validation, key_order)
    network, trained = _networks(config, dataset)
    setting = Setting(dataset, network, parts, measures.zero_loss(network, parts["train"]))
    costs = methods.expected_costs(config, trained, len(dataset.train_images) - config.validation)
    evolutions = [
        FrontRun(
            config,
            setting,
            FrontRecorder(config, costs, setting.zero_loss, display, on_row),
            on_step,
        )
        for config, display, (on_row, on_step) in zip(
            configs, job.progress_displays(), job.callbacks, strict=True
        )
    ]
    data = parts["train"]
    data = data._replace(examples=seed_axis.broadcast(key, data.examples))
    indices = seed_axis.indices(key)

    def collect(trees: Any, facts: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        trees = trees, [evolution.saved_trees() for evolution in evolutions]
        facts = {**facts, "runs": [evolution.saved_facts() for evolution in evolutions]}
        return trees, {**facts, "seconds": time.perf_counter() - started}

    method = methods.METHODS[config.method]
    with (
        devices.mesh(config, population_multiple(config)),
        manager.defer_signals() if manager else nullcontext(),
    ):
        steps = method(key_method, config, trained, data, resumed, job.progress)
        step = next(steps) if resumed else None
        if resumed:
            for evolution, saved in zip(evolutions, resumed.facts["runs"], strict=True):
                evolution.restore(saved, resumed)
        for step in steps:
            saved = partial(collect, *step.saved) if manager and step.saved else None
            if manager and saved and step.phase == "evolved":
                manager.keep(saved)
            with manager.save_on_failure(saved) if manager and saved else nullcontext():
                for evolution, index in zip(evolutions, indices, strict=True):
                    evolution.observe(step.of_seed(index))
            if manager and saved and step.phase != "evolved":
                manager.step(step.info.done, saved)
        assert step is not None, "every method has at least one step"
        if manager and step.saved and step.phase == "evolution":
            manager.keep(partial(collect, *step.saved))
        step = step._replace(params=gathered(step.params))
    seconds = time.perf_counter() - started
    for evolution, index in zip(evolutions, indices, strict=True):
        with job.progress.status("measuring the front on whole sets"):
            yield evolution.results(step.of_seed(index), seconds)


def _open_callback(config: Config, directory: Path, stack: ExitStack) -> tuple[OnRow, OnStep]:
    """Return callbacks that write metrics into the directory and, with `--plot`, draw the front."""
    file = run_directory.metrics_file(directory / "metrics.csv", report.columns(config))
    on_step = report.preview(config, directory) if config.plot else _ignore
    return stack.enter_context(file), on_step


def _networks(config: Config, dataset: Dataset) -> tuple[Network, Network]:
    """The network for evaluation, in float32, and for training, in the configured precision."""
    shape, classes = dataset.train_images.shape[1:], int(dataset.train_labels.max()) + 1
    kind = config.model, config.hidden or (), shape, classes
    return networks.make(*kind), networks.make(*kind, config.precision)


def _parts(dataset: Dataset, validation: int, key_order: Key[Array, ""]) -> dict[str, gajax.Data]:
    """Training, validation and test sets; the last `validation` training images are held out."""
    trained_on = len(dataset.train_images) - validation
    sets = {
        "train": (dataset.train_images[:trained_on], dataset.train_labels[:trained_on]),
        "validation": (dataset.train_images[trained_on:], dataset.train_labels[trained_on:]),
        "test": (dataset.test_images, dataset.test_labels),
    }
    return {
        name: networks.data(images, labels, key_order)
        for name, (images, labels) in sets.items()
        if len(images)
    }


TRAINING = Training(
    capacity,
    train_together,
    train,
    no_callback=(_ignore, _ignore),
    open_callback=_open_callback,
    save=report.save,
    table=report.table,
    seed_table=records.table,
)
