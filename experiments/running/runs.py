"""Runs of one or several seeds, with a live display and a directory for the results of each."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments.running import cache, distributed, files, memory, run_directory, seeds
from experiments.running.checkpoint_manager import CheckpointManager
from experiments.running.checkpoints import Checkpoint
from experiments.running.cli import InputError, flag
from experiments.running.config import RunConfig
from experiments.running.hosts import ALONE, Hosts
from experiments.running.parsing import load_config
from experiments.running.progress import Progress
from experiments.running.resuming import run_identity


class Job(NamedTuple):
    """Runs that differ only in their seeds and train together.

    Attributes:
      configs: one per seed.
      dataset: images and labels.
      progress: shows the first run.
      callbacks: of the training, one per config.
      manager: saves checkpoints and holds the one to resume from, if any.
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
        """The checkpoint to resume from."""
        return self.manager.resumed if self.manager else None

    def start_time(self) -> float:
        """Start time by `time.perf_counter`, without interruptions."""
        return time.perf_counter() - (self.resumed.facts["seconds"] if self.resumed else 0)

    def progress_displays(self) -> list[Progress]:
        """The progress display of each run; only the first is visible."""
        return [self.progress, *[Progress(quiet=True)] * (len(self.configs) - 1)]


class Training(NamedTuple):
    """The functions that implement the runs of an experiment.

    Attributes:
      capacity: `capacity(config, dataset)`, how many runs fit in memory together; InputError if
        not even one does.
      train_together: `train_together(job)` yields the results of each config in turn.
      train: `train(config, **options)`, the results of a single run without a directory.
      no_callback: a callback that does nothing.
      open_callback: `open_callback(config, directory, stack)`, a callback that writes into the
        directory; the stack closes its files.
      save: `save(results, directory)` writes the results.
      table: `table(results, directory)` prints the results of a single run.
      seed_table: `seed_table(directory)` writes and prints the results of all seeds.
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
    """Run a single training without a directory."""
    training.capacity(config, dataset)
    job = Job([config], dataset, progress or Progress(quiet=True), [callback])
    (results,) = training.train_together(job)
    return results


def run(
    training: Training, config: RunConfig, dataset: Any, directory: Path, title: str = ""
) -> Any:
    """Train with a live display, titled if there are several runs, and write everything."""
    training.capacity(config, dataset)
    (results,) = run_together(training, [config], dataset, [directory], title)
    return results


def run_together(
    training: Training,
    configs: Sequence[RunConfig],
    dataset: Any,
    directories: Sequence[Path],
    title: str = "",
    hosts: Hosts = ALONE,
) -> list[Any]:
    """Train together, with a live display, and write everything into a directory per run.

    The first directory holds the checkpoints of all runs; if there are any, the runs resume. Of a
    distributed run each process writes its share of the checkpoints, and process 0 all the rest.
    """
    config = configs[0]
    identity = run_identity(config, [config.seed for config in configs], dataset[2:])
    extensible = [flag(name) for name in config.lowest_extensions(directories[0])]
    manager = CheckpointManager(
        directories[0],
        config.checkpoint_every,
        identity,
        extensible=extensible if config.resume else (),
        keep_state=bool(extensible) and not config.discard_state,
        hosts=hosts,
    )
    if not manager.resumed and all(map(run_directory.is_finished, directories)):
        expected = "a run that has kept its last state, to be extended"
        raise InputError(f"--resume must name {expected}, not {directories[0]}")
    if not hosts.reports:
        hosts.begin()
        with Progress(quiet=True) as progress:
            nothing = [training.no_callback] * len(configs)
            results = [*training.train_together(Job(configs, dataset, progress, nothing, manager))]
        hosts.share(lambda: None)  # process 0 has written its results
        return results
    for directory in directories:  # a run that is extended is not finished anymore
        (directory / "summary.json").unlink(missing_ok=True)
    finished = []
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(quiet=config.quiet, title=title))
        callbacks = []
        for config, directory in zip(configs, directories, strict=True):
            run_directory.save_config(distributed.forgotten(config), directory / "config.json")
            callbacks.append(training.open_callback(config, directory, stack))
        hosts.begin()
        job = Job(configs, dataset, progress, callbacks, manager)
        for results, directory in zip(training.train_together(job), directories, strict=True):
            with progress.status("drawing the figures"):
                training.save(results, directory)
            finished.append(results)
    if hosts.reports:
        for directory in directories:
            run_directory.tidy(directory)
    hosts.share(lambda: None)
    return finished


def run_seeds(
    training: Training, config: RunConfig, dataset: Any, directory: Path, hosts: Hosts = ALONE
) -> None:
    """Run the config in the directory, or once per seed in subdirectories.

    As many seeds as fit in memory train together.
    """
    if hosts.share(lambda: _are_complete([config], [directory])):
        print(f"{directory} is finished")
        return
    capacity = training.capacity(config, dataset).runs
    if config.seeds is None:
        (results,) = run_together(training, [config], dataset, [directory], hosts=hosts)
        if hosts.reports:
            training.table(results, directory)
        return
    path = directory / "groups.json"
    groups = hosts.share(lambda: _groups(config, capacity, path))
    if hosts.reports:
        run_directory.save_config(distributed.forgotten(config), directory / "config.json")
        run_directory.write_text(path, json.dumps(groups) + "\n")
    for group in groups:
        configs = [replace(config, seed=seed, seeds=None) for seed in group]
        directories = [directory / f"seed-{seed}" for seed in group]
        if hosts.share(lambda: _are_complete(configs, directories)):  # noqa: B023
            continue
        for each in directories:
            each.mkdir(exist_ok=True)
        title = f"seed {group[0]}: "
        if len(group) > 1:
            title = f"seeds {' '.join(map(str, group))} (shown: {group[0]}): "
        run_together(training, configs, dataset, directories, title, hosts)
        cache.clear_programs()
    if hosts.reports:
        run_directory.tidy(directory)
        training.seed_table(directory)


def _are_complete(configs: Sequence[RunConfig], directories: Sequence[Path]) -> bool:
    """Whether runs that train together are finished, and end tidy.

    Until all are, the first directory holds the checkpoints that the others resume from.
    """
    if not all(map(_is_complete, configs, directories)):
        return False
    for directory in directories:
        run_directory.tidy(directory)
    return True


def _is_complete(config: RunConfig, directory: Path) -> bool:
    """Whether the run is finished, and is not to be extended."""
    if not run_directory.is_finished(directory):
        return False
    run_directory.require_finished(directory, "--resume", {})
    saved = load_config(type(config), directory / "config.json", type(config)())
    names = saved.lowest_extensions(directory)
    return all(getattr(saved, name) == getattr(config, name) for name in names)


def _groups(config: RunConfig, capacity: int, path: Path) -> list[Sequence[int]]:
    """Groups of seeds that train together: those of a file, if there is one, for resumed runs."""
    assert config.seeds is not None
    numbers = seeds.expand(config.seeds, config.seed)
    if not path.exists():
        return [numbers[start : start + capacity] for start in range(0, len(numbers), capacity)]
    try:
        groups = files.read_json(path, list)
        if [seed for group in groups for seed in group] != [*numbers]:
            raise ValueError("it must hold the seeds of the run")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"--resume needs an intact {path}: {error}") from None
    return groups
