"""Independent runs under one config: which seeds they have and where each of them lies."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import run_directory
from experiments.cli import require

_MOST = 1_000
"""Seeds that a single number may ask for; a larger one is meant for `--seed`."""


def chosen(seeds: tuple[int, ...], first: int) -> tuple[int, ...]:
    """What `--seeds` means: so many from the first on where it is one number, else those listed."""
    shown = " ".join(map(str, seeds))
    if len(seeds) == 1:
        expected = f"from 1 to {_MOST:,}, or a list of seeds"
        require(0 < seeds[0] <= _MOST, "--seeds", shown, expected)
        seeds = tuple(range(first, first + seeds[0]))
        require(seeds[-1] < 2**32, "--seeds", shown, f"so few that from {first} on all are valid")
    require(len({*seeds}) == len(seeds), "--seeds", shown, "a list without duplicates")
    require(min(seeds) >= 0, "--seeds", shown, "a list of seeds of 0 or more")
    require(max(seeds) < 2**32, "--seeds", shown, f"a list of seeds below {2**32}")
    return seeds


def run(
    config: Any,
    directory: Path,
    fitting: int,
    run_together: Callable[[Sequence[Any], Sequence[Path], str], object],
) -> None:
    """Run the config once for each of its seeds, in directories below that one.

    As many as are `fitting` run side by side, by `run_together(configs, directories, title)`.
    """
    seeds = chosen(config.seeds, config.seed)
    for start in range(0, len(seeds), fitting):
        group = seeds[start : start + fitting]
        configs = [replace(config, seed=seed, seeds=None) for seed in group]
        places = [directory / f"seed-{seed}" for seed in group]
        for place in places:
            run_directory.make_directory(place)
        title = f"seed {group[0]}: "
        if len(group) > 1:
            title = f"seeds {' '.join(map(str, group))} (shown: {group[0]}): "
        run_together(configs, places, title)
