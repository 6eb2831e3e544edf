"""Evolving a front and measuring it on whole sets, with and without a run directory."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

import gajax
from experiments.datasets.catalog import Dataset, load
from experiments.front import measures as fronts
from experiments.front import methods as front_methods
from experiments.front import networks
from experiments.front import report as front_report
from experiments.front.config import Config, check, check_against, multiple
from experiments.front.networks import Network
from experiments.front.recorder import FrontRecorder
from experiments.front.run import FrontRun, Results, Setting, whole
from experiments.running import devices, memory, run_directory, side_by_side
from experiments.running.keeper import Keeper
from experiments.running.progress import Progress

_COPIES = 24
"""Of a network that a rival without a population has about in memory, moments and all."""

OnRow = Callable[[dict[str, Any]], None]
"""Called with the metrics of each generation as it ends."""

OnStep = Callable[[fronts.Step, float], None]
"""Called with every step of the method and the loss of the network of zeros."""


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
    """Evolve, then measure the front on whole sets."""
    config = check(config)
    dataset = dataset or load(config.dataset, config.data_dir)
    check_against(config, dataset)
    fitting(config, dataset)
    progress = progress or Progress(quiet=True)
    (results,) = train_together([config], dataset, progress, [(on_row, on_step)])
    return results


def fitting(config: Config, dataset: Dataset) -> memory.Fit:
    """The seeds that evolve side by side; InputError where there is no memory for one."""
    shared = devices.count(config, multiple(config))
    network, _ = _networks(config, dataset)
    widths = " ".join(map(str, config.hidden or ()))
    if config.method not in front_methods.ALGORITHMS:
        copies = _COPIES * memory.size(jax.eval_shape(network.init, jax.random.key(0)))
        fit = memory.fitting(lambda runs: runs * copies, 1, "--hidden", widths)
        return fit._replace(runs=1)
    images = len(dataset.train_images) - config.validation
    examples = {
        "images": jax.ShapeDtypeStruct((images, dataset.train_images[0].size), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((images,), jnp.int32),
    }

    def needs(size: int) -> int:
        of_size = replace(config, population_size=size)
        return front_methods.memory_needed(of_size, network, examples) // shared

    fit = memory.fitting(needs, config.population_size, "--hidden", widths)
    # What a final refinement leaves of the budget is another number of generations for each seed.
    is_apart = config.budget is not None and front_methods.is_refined(config)
    return fit._replace(runs=1) if is_apart or shared > 1 else fit


def train_together(
    configs: Sequence[Config],
    dataset: Dataset,
    progress: Progress,
    watches: Sequence[tuple[OnRow, OnStep]],
    keeper: Keeper | None = None,
) -> Iterator[Results]:
    """Evolve side by side what differs in nothing but the seed, then measure one after another.

    The progress shown is that of the first one; the seconds of each are those of all together. With
    a keeper, go on from its checkpoint if it has one.
    """
    config = configs[0]
    resumed = keeper.resumed if keeper else None
    started = time.perf_counter() - (resumed.facts["seconds"] if resumed else 0)
    key = side_by_side.keys([config.seed for config in configs])
    key_order, key_method = side_by_side.split(key)
    parts = _parts(dataset, config.validation, key_order)
    network, learner = _networks(config, dataset)
    setting = Setting(dataset, network, parts, fronts.zero_loss(network, parts["train"]))
    displays = [progress, *[Progress(quiet=True)] * (len(configs) - 1)]
    runs = [
        FrontRun(
            config, setting, FrontRecorder(config, setting.zero_loss, display, on_row), on_step
        )
        for config, display, (on_row, on_step) in zip(configs, displays, watches, strict=True)
    ]
    data = parts["train"]
    data = data._replace(examples=side_by_side.for_all(key, data.examples))
    places = side_by_side.places(key)

    def collect(trees: Any, facts: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        trees = trees, [run.saved_trees() for run in runs]
        facts = {**facts, "runs": [run.saved_facts() for run in runs]}
        return trees, {**facts, "seconds": time.perf_counter() - started}

    method = front_methods.METHODS[config.method]
    with devices.mesh(config, multiple(config)), keeper.watching() if keeper else nullcontext():
        steps = method(key_method, config, learner, data, resumed)
        step = next(steps) if resumed else None
        if resumed:
            for run, saved in zip(runs, resumed.facts["runs"], strict=True):
                run.restore(saved, resumed)
        for step in steps:
            saved = partial(collect, *step.saved) if keeper and step.saved else None
            with keeper.keeping_the_dead(saved) if keeper and saved else nullcontext():
                for run, place in zip(runs, places, strict=True):
                    run.observe(step.own(place))
            if keeper and saved:
                keeper.step(bool(step.info.done.all()), saved)
        assert step is not None, "every method takes steps"
        step = step._replace(params=whole(step.params))
    seconds = time.perf_counter() - started
    for run, place in zip(runs, places, strict=True):
        with progress.status("measuring the front on whole sets"):
            yield run.results(step.own(place), seconds)


def run(config: Config, dataset: Dataset, directory: Path) -> Results:
    """Train with a live display and leave everything in the directory."""
    fitting(config, dataset)
    (results,) = run_together([config], dataset, [directory])
    return results


def run_together(
    configs: Sequence[Config], dataset: Dataset, directories: Sequence[Path], title: str = ""
) -> list[Results]:
    """Train side by side, with a live display, and leave everything in a directory for each."""

    def watch(config: Config, directory: Path, stack: ExitStack) -> tuple[OnRow, OnStep]:
        columns = front_report.columns(config)
        file = run_directory.metrics_file(directory / "metrics.csv", columns)
        on_step = front_report.preview(config, directory) if config.plot else _ignore
        return stack.enter_context(file), on_step

    def train(
        progress: Progress, watches: Sequence[tuple[OnRow, OnStep]], keeper: Keeper | None
    ) -> Iterator[Results]:
        return train_together(configs, dataset, progress, watches, keeper)

    return side_by_side.run(configs, dataset, directories, title, watch, train, front_report.save)


def _networks(config: Config, dataset: Dataset) -> tuple[Network, Network]:
    """The network as it is measured, and as it learns."""
    shape, classes = dataset.train_images.shape[1:], int(dataset.train_labels.max()) + 1
    kind = config.model, config.hidden or (), shape, classes
    return networks.make(*kind), networks.make(*kind, config.precision)


def _parts(dataset: Dataset, validation: int, key_order: Key[Array, ""]) -> dict[str, gajax.Data]:
    """The sets as data of the algorithms; the last `validation` training images are a set."""
    learned = len(dataset.train_images) - validation
    sets = {
        "train": (dataset.train_images[:learned], dataset.train_labels[:learned]),
        "validation": (dataset.train_images[learned:], dataset.train_labels[learned:]),
        "test": (dataset.test_images, dataset.test_labels),
    }
    return {
        name: networks.data(images, labels, key_order)
        for name, (images, labels) in sets.items()
        if len(images)
    }
