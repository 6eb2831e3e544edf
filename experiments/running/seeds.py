"""Independent runs under one config: which seeds they have and where each of them lies."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.running import cache, run_directory
from experiments.running.cli import require

_MOST = 1_000
"""Seeds that a single number may ask for; a larger one is meant for `--seed`."""


def chosen(seeds: tuple[int, ...], first: int) -> tuple[int, ...]:
    """What `--seeds` means: so many from the first on where it is one number, else those listed."""
    shown = " ".join(map(str, seeds))
    require(len(seeds) > 0, "--seeds", "an empty list", "a number or a list of seeds")
    if len(seeds) == 1:
        expected = f"from 1 to {_MOST:,}, or a list of seeds"
        require(0 < seeds[0] <= _MOST, "--seeds", shown, expected)
        seeds = tuple(range(first, first + seeds[0]))
        require(seeds[-1] < 2**32, "--seeds", shown, f"so few that from {first} on all are valid")
    require(len({*seeds}) == len(seeds), "--seeds", shown, "a list without duplicates")
    require(min(seeds) >= 0, "--seeds", shown, "a list of seeds of 0 or more")
    require(max(seeds) < 2**32, "--seeds", shown, f"a list of seeds below {2**32}")
    return seeds


def each(config: Any) -> list[Any]:
    """The config of each seed."""
    if config.seeds is None:
        return [config]
    numbers = chosen(config.seeds, config.seed)
    return [replace(config, seed=seed, seeds=None) for seed in numbers]


def run(
    config: Any,
    dataset: Any,
    directory: Path,
    training: Any,
    table: Callable[[Any, Path], object],
    table_of_all: Callable[[Path], object],
) -> None:
    """Run the config into the directory, or once for each of its seeds into directories below.

    As many as fit run side by side. `training` is the module that does it, by its functions
    `fitting` and `run_together`; `table(results, directory)` prints what came of a single run, and
    `table_of_all(directory)` what came of all.
    """
    if run_directory.is_finished(directory):
        print(f"{directory} is finished")
        return
    with run_directory.kept_unless_refused(directory):
        fitting = training.fitting(config, dataset).runs
    if config.seeds is None:
        (results,) = training.run_together([config], dataset, [directory])
        table(results, directory)
        return
    run_directory.save_config(
        replace(config, config=None, out=None, resume=None), directory / "config.json"
    )
    for group in _groups(chosen(config.seeds, config.seed), fitting, directory / "groups.json"):
        configs = [replace(config, seed=seed, seeds=None) for seed in group]
        places = [directory / f"seed-{seed}" for seed in group]
        if all(map(run_directory.is_finished, places)):
            continue
        for place in places:
            run_directory.make_directory(place)
        title = f"seed {group[0]}: "
        if len(group) > 1:
            title = f"seeds {' '.join(map(str, group))} (shown: {group[0]}): "
        training.run_together(configs, dataset, places, title)
        cache.forget_programs()
    table_of_all(directory)


def _groups(seeds: Sequence[int], fitting: int, path: Path) -> list[Sequence[int]]:
    """The seeds that run side by side, in a file so that they stay together when resumed."""
    if path.exists():
        return json.loads(path.read_text())
    groups = [seeds[start : start + fitting] for start in range(0, len(seeds), fitting)]
    run_directory.write_text(path, json.dumps(groups) + "\n")
    return groups
