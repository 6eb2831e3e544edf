"""Benchmark of checkpoints against plain writes of the same size."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments.autoencoder import checks as autoencoder
from experiments.autoencoder.config import Config as AutoencoderConfig
from experiments.autoencoder.training import TRAINING as MNIST_GA
from experiments.benchmark.measure import Floor, Row, Sizes, measure
from experiments.datasets.catalog import load
from experiments.front import checks as front
from experiments.front.config import Config as FrontConfig
from experiments.front.training import TRAINING as GEMONN
from experiments.running import checkpoints, memory
from experiments.running.progress import Progress
from experiments.running.resuming import parse_interval
from experiments.running.runs import Job, Training
from gajax import sharding


def checkpoints_of_experiments(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Saving a checkpoint of each experiment with its default settings."""
    evolution = front.check(FrontConfig(method="gemonn", population_size=sizes.front))
    genetic = autoencoder.check(AutoencoderConfig(population_size=2 * (sizes.population // 2)))
    for name, training, config in (
        ("gemonn", GEMONN, evolution),
        ("mnist_ga", MNIST_GA, genetic),
    ):
        collect = _collected(training, config)
        trees, _ = collect()
        with tempfile.TemporaryDirectory() as directory:
            folder = Path(directory)
            row = measure(
                8,
                f"checkpoint of {name}",
                f"{config.population_size} individuals, {memory.size(trees) / 1e6:,.0f} MB",
                partial(_save, folder / "checkpoints", collect),
                repeats,
                floor=Floor(partial(_write, folder / "floor", trees)),
            )
        share = row.seconds / parse_interval(config.checkpoint_every)[1]
        yield row._replace(note=f"{share:.2%} of the {config.checkpoint_every} interval")


class _CollectedError(Exception):
    """Carries the function that collects the state."""


class _StoppingManager:
    """Ends a training at its first step instead of saving its state."""

    resumed = None

    def defer_signals(self) -> Any:
        return nullcontext()

    def save_on_failure(self, collect: Callable[[], Any]) -> Any:
        return nullcontext()

    def step(self, ended: bool, collect: Callable[[], Any]) -> None:
        raise _CollectedError(collect)


def _collected(training: Training, config: Any) -> Callable[[], Any]:
    manager: Any = _StoppingManager()
    dataset, progress = load(config.dataset), Progress(quiet=True)
    job = Job([config], dataset, progress, [training.no_callback], manager)
    try:
        next(training.train_together(job))
    except _CollectedError as ended:
        return ended.args[0]
    raise AssertionError("every training saves its state")


def _save(folder: Path, collect: Callable[[], Any]) -> None:
    checkpoints.save(folder, *collect())


def _write(path: Path, trees: Any) -> None:
    """Write all arrays into one file and flush it to disk."""
    with path.open("wb") as file:
        for leaf in jax.tree.leaves(trees):
            file.write(sharding.gather(leaf).tobytes())
        file.flush()
        os.fsync(file.fileno())
