"""Runs with a live display, each of which leaves everything in a directory, and several seeds."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments.running import cache, memory, run_directory, seeds
from experiments.running.checkpoints import Checkpoint
from experiments.running.config import RunConfig
from experiments.running.keeper import Keeper
from experiments.running.progress import Progress
from experiments.running.resuming import of_run


class Job(NamedTuple):
    """Runs that train side by side because they differ in nothing but the seed.

    Attributes:
      configs: one for each seed.
      dataset: images and labels.
      progress: shows the first of the runs.
      watches: for each config, what the training calls as it goes.
      keeper: saves checkpoints, and has the one to go on from, if any.
    """

    configs: Sequence[Any]
    dataset: Any
    progress: Progress
    watches: Sequence[Any]
    keeper: Keeper | None = None

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [config.seed for config in self.configs]

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint to go on from."""
        return self.keeper.resumed if self.keeper else None

    def started(self) -> float:
        """When the runs have started, by `time.perf_counter`, interruptions left out."""
        return time.perf_counter() - (self.resumed.facts["seconds"] if self.resumed else 0)

    def displays(self) -> list[Progress]:
        """The display of each run, of which only the first one is seen."""
        return [self.progress, *[Progress(quiet=True)] * (len(self.configs) - 1)]


class Training(NamedTuple):
    """The functions of an experiment that its runs are made of.

    Attributes:
      fitting: `fitting(config, dataset)`, the runs that fit side by side; InputError where there
        is no memory for one.
      train_together: `train_together(job)` yields the results of each config in turn.
      train: `train(config, **options)`, the results of a single run without a directory.
      ignore: a watch that does nothing.
      watch: `watch(config, directory, stack)`, a watch that writes into the directory, and whose
        files the stack closes.
      save: `save(results, directory)` writes the results.
      table: `table(results, directory)` prints those of a single run.
      table_of_all: `table_of_all(directory)` writes and prints those of all seeds below.
    """

    fitting: Callable[[Any, Any], memory.Fit]
    train_together: Callable[[Job], Iterator[Any]]
    train: Callable[..., Any]
    ignore: Any
    watch: Callable[[Any, Path, ExitStack], Any]
    save: Callable[[Any, Path], None]
    table: Callable[[Any, Path], None]
    table_of_all: Callable[[Path], object]


def train(
    training: Training, config: RunConfig, dataset: Any, progress: Progress | None, watch: Any
) -> Any:
    """The results of a single run, without a directory."""
    training.fitting(config, dataset)
    job = Job([config], dataset, progress or Progress(quiet=True), [watch])
    (results,) = training.train_together(job)
    return results


def run(training: Training, config: RunConfig, dataset: Any, directory: Path) -> Any:
    """Train with a live display and leave everything in the directory."""
    training.fitting(config, dataset)
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
    keeper = None
    if not config.distributed:
        identity = of_run(config, [config.seed for config in configs], dataset[2:])
        keeper = Keeper(directories[0] / "checkpoints", config.checkpoint_every, identity)
    finished = []
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(quiet=config.quiet, title=title))
        watches = []
        for config, directory in zip(configs, directories, strict=True):
            run_directory.save_config(
                replace(config, config=None, out=None, resume=None), directory / "config.json"
            )
            watches.append(training.watch(config, directory, stack))
        job = Job(configs, dataset, progress, watches, keeper)
        for results, directory in zip(training.train_together(job), directories, strict=True):
            with progress.status("drawing the figures"):
                training.save(results, directory)
            finished.append(results)
    if keeper:
        keeper.forget()
    return finished


def run_seeds(training: Training, config: RunConfig, dataset: Any, directory: Path) -> None:
    """Run the config into the directory, or once for each of its seeds into directories below.

    As many as fit run side by side.
    """
    if run_directory.is_finished(directory):
        print(f"{directory} is finished")
        return
    with run_directory.kept_unless_refused(directory):
        fitting = training.fitting(config, dataset).runs
    if config.seeds is None:
        (results,) = run_together(training, [config], dataset, [directory])
        training.table(results, directory)
        return
    run_directory.save_config(
        replace(config, config=None, out=None, resume=None), directory / "config.json"
    )
    numbers = seeds.chosen(config.seeds, config.seed)
    for group in _groups(numbers, fitting, directory / "groups.json"):
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
        cache.forget_programs()
    training.table_of_all(directory)


def _groups(numbers: Sequence[int], fitting: int, path: Path) -> list[Sequence[int]]:
    """The seeds that run side by side, in a file so that they stay together when resumed."""
    if path.exists():
        return json.loads(path.read_text())
    groups = [numbers[start : start + fitting] for start in range(0, len(numbers), fitting)]
    run_directory.write_text(path, json.dumps(groups) + "\n")
    return groups
