"""Runs with a live display, each of which leaves everything in a directory, and several seeds."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments.running import cache, memory, run_directory, seeds
from experiments.running.checkpoint_manager import CheckpointManager
from experiments.running.checkpoints import Checkpoint
from experiments.running.config import RunConfig
from experiments.running.progress import Progress
from experiments.running.resuming import run_identity


class Job(NamedTuple):
    """Runs that train side by side because they differ in nothing but the seed.

    Attributes:
      configs: one for each seed.
      dataset: images and labels.
      progress: shows the first of the runs.
      callbacks: for each config, what the training calls as it goes.
      manager: saves checkpoints, and has the one to go on from, if any.
    """

    configs: Sequence[Any]
    dataset: Any
    progress: Progress
    callbacks: Sequence[Any]
    manager: CheckpointManager | None = None

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [config.seed for config in self.configs]

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint to go on from."""
        return self.manager.resumed if self.manager else None

    def start_time(self) -> float:
        """When the runs have started, by `time.perf_counter`, interruptions left out."""
        return time.perf_counter() - (self.resumed.facts["seconds"] if self.resumed else 0)

    def progress_displays(self) -> list[Progress]:
        """The display of each run, of which only the first one is seen."""
        return [self.progress, *[Progress(quiet=True)] * (len(self.configs) - 1)]


class Training(NamedTuple):
    """The functions of an experiment that its runs are made of.

    Attributes:
      capacity: `capacity(config, dataset)`, the runs that fit side by side; InputError where there
        is no memory for one.
      train_together: `train_together(job)` yields the results of each config in turn.
      train: `train(config, **options)`, the results of a single run without a directory.
      no_callback: a callback that does nothing.
      open_callback: `open_callback(config, directory, stack)`, a callback that
        writes into the directory; the stack closes its files.
      save: `save(results, directory)` writes the results.
      table: `table(results, directory)` prints those of a single run.
      seed_table: `seed_table(directory)` writes and prints those of all seeds below.
    """

    capacity: Callable[[Any, Any], memory.Capacity]
    train_together: Callable[[Job], Iterator[Any]]
    train: Callable[..., Any]
    no_callback: Any
    open_callback: Callable[[Any, Path, ExitStack], Any]
    save: Callable[[Any, Path], None]
    table: Callable[[Any, Path], None]
    seed_table: Callable[[Path], object]


def train(
    training: Training, config: RunConfig, dataset: Any, progress: Progress | None, callback: Any
) -> Any:
    """The results of a single run, without a directory."""
    training.capacity(config, dataset)
    job = Job([config], dataset, progress or Progress(quiet=True), [callback])
    (results,) = training.train_together(job)
    return results


def run(training: Training, config: RunConfig, dataset: Any, directory: Path) -> Any:
    """Train with a live display and leave everything in the directory."""
    training.capacity(config, dataset)
    (results,) = run_together(training, [config], dataset, [directory])
    return results


def run_together(
    training: Training,
    configs: Sequence[RunConfig],
    dataset: Any,
    directories: Sequence[Path],
    title: str = "",
) -> list[Any]:
    """Train side by side, with a live display, and leave everything in a directory for each.

    Checkpoints of all lie in the first directory; where there are some, the runs go on from there.
    """
    config = configs[0]
    manager = None
    if not config.distributed:
        identity = run_identity(config, [config.seed for config in configs], dataset[2:])
        manager = CheckpointManager(
            directories[0] / "checkpoints", config.checkpoint_every, identity
        )
    finished = []
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(quiet=config.quiet, title=title))
        callbacks = []
        for config, directory in zip(configs, directories, strict=True):
            run_directory.save_config(
                replace(config, config=None, out=None, resume=None), directory / "config.json"
            )
            callbacks.append(training.open_callback(config, directory, stack))
        job = Job(configs, dataset, progress, callbacks, manager)
        for results, directory in zip(training.train_together(job), directories, strict=True):
            with progress.status("drawing the figures"):
                training.save(results, directory)
            finished.append(results)
    if manager:
        manager.delete_checkpoints()
    return finished


def run_seeds(training: Training, config: RunConfig, dataset: Any, directory: Path) -> None:
    """Run the config into the directory, or once for each of its seeds into directories below.

    As many as fit run side by side.
    """
    if run_directory.is_finished(directory):
        print(f"{directory} is finished")
        return
    with run_directory.removed_if_refused(directory):
        capacity = training.capacity(config, dataset).runs
    if config.seeds is None:
        (results,) = run_together(training, [config], dataset, [directory])
        training.table(results, directory)
        return
    run_directory.save_config(
        replace(config, config=None, out=None, resume=None), directory / "config.json"
    )
    numbers = seeds.expand(config.seeds, config.seed)
    for group in _groups(numbers, capacity, directory / "groups.json"):
        configs = [replace(config, seed=seed, seeds=None) for seed in group]
        places = [directory / f"seed-{seed}" for seed in group]
        if all(map(run_directory.is_finished, places)):
            continue
        for place in places:
            run_directory.make_directory(place)
        title = f"seed {group[0]}: "
        if len(group) > 1:
            title = f"seeds {' '.join(map(str, group))} (shown: {group[0]}): "
        run_together(training, configs, dataset, places, title)
        cache.clear_programs()
    training.seed_table(directory)


def _groups(numbers: Sequence[int], capacity: int, path: Path) -> list[Sequence[int]]:
    """The seeds that run side by side, in a file so that they stay together when resumed."""
    if path.exists():
        return json.loads(path.read_text())
    groups = [numbers[start : start + capacity] for start in range(0, len(numbers), capacity)]
    run_directory.write_text(path, json.dumps(groups) + "\n")
    return groups
