"""Saving the state of a run, beside writing as many bytes and beside the time between two saves."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from experiments import gemonn, mnist_ga
from experiments.autoencoder import training
from experiments.benchmark.measure import Floor, Row, Sizes, measure
from experiments.datasets.catalog import load
from experiments.front import training as front_training
from experiments.running import checkpoints, memory
from experiments.running.progress import Progress
from experiments.running.resuming import interval
from gajax import sharding


def saving(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """A checkpoint of each experiment at its default setting, as its runs make it."""
    evolution = gemonn.check(gemonn.Config(population_size=sizes.front))
    genetic = mnist_ga.check(mnist_ga.Config(population_size=2 * (sizes.population // 2)))
    for name, module, config, watch in (
        ("gemonn", front_training, evolution, (_ignore, _ignore)),
        ("mnist_ga", training, genetic, _ignore),
    ):
        collect = _collected(module, config, watch)
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
        share = row.seconds / interval(config.checkpoint_every)[1]
        yield row._replace(note=f"{share:.2%} of the {config.checkpoint_every} between two")


class _CollectedError(Exception):
    """What a keeper would save is there."""


class _Keeper:
    """Keeps nothing, and ends a training at its first step with what it would have saved."""

    resumed = None

    def watching(self) -> Any:
        return nullcontext()

    def keeping_the_dead(self, collect: Callable[[], Any]) -> Any:
        return nullcontext()

    def step(self, ended: bool, collect: Callable[[], Any]) -> None:
        raise _CollectedError(collect)


def _collected(module: ModuleType, config: Any, watch: Any) -> Callable[[], Any]:
    steps = module.train_together(
        [config], load(config.dataset), Progress(quiet=True), [watch], _Keeper()
    )
    try:
        next(iter(steps))
    except _CollectedError as ended:
        return ended.args[0]
    raise AssertionError("every training offers its state")


def _save(folder: Path, collect: Callable[[], Any]) -> None:
    checkpoints.save(folder, *collect())


def _write(path: Path, trees: Any) -> None:
    """Write all arrays into one file that outlives a loss of power."""
    with path.open("wb") as file:
        for leaf in jax.tree.leaves(trees):
            file.write(sharding.gather(leaf).tobytes())
        file.flush()
        os.fsync(file.fileno())


def _ignore(*_: object) -> None:
    pass
