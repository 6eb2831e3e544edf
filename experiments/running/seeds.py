"""Seeds of independent runs with the same config."""

from dataclasses import replace
from typing import Any

from experiments.running.cli import require

_MAX_SEEDS = 1_000
"""Largest number of seeds; a larger value was probably meant for `--seed`."""


def expand(seeds: tuple[int, ...], first: int) -> tuple[int, ...]:
    """Expand `--seeds`: one number n means n seeds from `first`, several numbers are the seeds."""
    shown = " ".join(map(str, seeds))
    require(len(seeds) > 0, "--seeds", "an empty list", "a number or a list of seeds")
    if len(seeds) == 1:
        expected = f"from 1 to {_MAX_SEEDS:,}, or a list of seeds"
        require(0 < seeds[0] <= _MAX_SEEDS, "--seeds", shown, expected)
        seeds = tuple(range(first, first + seeds[0]))
        require(
            seeds[-1] < 2**32, "--seeds", shown, f"so few that all seeds from {first} are valid"
        )
    require(len({*seeds}) == len(seeds), "--seeds", shown, "a list without duplicates")
    require(min(seeds) >= 0, "--seeds", shown, "a list of seeds of 0 or more")
    require(max(seeds) < 2**32, "--seeds", shown, f"a list of seeds below {2**32}")
    return seeds


def per_seed(config: Any) -> list[Any]:
    """The config for each seed."""
    if config.seeds is None:
        return [config]
    numbers = expand(config.seeds, config.seed)
    return [replace(config, seed=seed, seeds=None) for seed in numbers]
