"""Settings shared by all experiments, and their validation."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.running import meeting, resuming, seeds
from experiments.running.cli import InputError, flag, require
from experiments.running.parsing import load_config


@dataclass(frozen=True)
class RunConfig:
    """Settings shared by all experiments; each experiment adds its own and may change defaults."""

    preset: Literal["gajax", "paper"] = "gajax"
    """defaults of all other settings: ours, or the published ones"""
    config: Path | None = None
    """load settings from a saved config.json; other flags override them"""
    method: str = ""
    """how to train"""
    dataset: str = "mnist5k"
    """images and labels"""
    data_dir: Path | None = None
    """directory of the four IDX files of the data set, or of mnist for sets generated from it"""
    validation: int = 0
    """number of training images held out"""
    population_size: int = 2
    """number of individuals"""
    batch_size: int = 1
    """number of examples in a gradient step"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """precision of the computations in training; parameters and reported values stay float32"""
    chunk_size: int | None = None
    """number of individuals computed in parallel; by default chosen for the device"""
    devices: int | None = None
    """number of devices to shard the population over; by default one CPU, or as many accelerators
    as divide it"""
    distributed: bool = False
    """run as one of several processes that shard the population, such as one per host"""
    coordinator: str | None = None
    """with --distributed: address and port of process 0; detected on a cluster by default"""
    processes: int | None = None
    """with --distributed: number of processes"""
    process_id: int | None = None
    """with --distributed: index of this process, from 0"""
    connect_timeout: float = 60.0
    """with --distributed: seconds to wait for the other processes"""
    seed: int = 0
    """random seed"""
    seeds: tuple[int, ...] | None = None
    """make several independent runs: their number, counting from --seed, or a list of seeds"""
    checkpoint_every: str = "2m"
    """interval between checkpoints, in generations or, such as 5m, in minutes"""
    discard_state: bool = False
    """do not keep the last state of the training, from which a finished run can be extended; it is
    not kept in comparisons or above a gigabyte either"""
    dry_run: bool = False
    """print settings, memory and estimated time without running"""
    resume: Path | None = None
    """resume the run in this directory from its latest checkpoint, with its settings, or extend a
    finished one by a larger number of generations"""
    out: Path | None = None
    """new directory for the results of the run"""
    quiet: bool = False
    """show no progress"""

    GROUPS = {
        "data": ("dataset", "data_dir", "validation"),
        "run": ("out", "seeds", "resume", "checkpoint_every", "discard_state", "dry_run", "config"),
        "hardware": (
            "precision",
            "chunk_size",
            "devices",
            "distributed",
            "coordinator",
            "processes",
            "process_id",
            "connect_timeout",
        ),
    }

    def lowest_extensions(self, run: Path) -> dict[str, float]:
        """The settings with which the run in the directory, which has this config, may be resumed
        or extended though they differ, and the lowest value of each."""
        del run
        return {}


LOWEST = {
    "population_size": 2,
    "batch_size": 1,
    "validation": 0,
    "chunk_size": 1,
    "devices": 1,
    "processes": 1,
    "process_id": 0,
}
"""The lowest value of each numeric setting, for `cli.require_at_least`."""


def check(config: RunConfig) -> None:
    """Raise InputError if settings of seeds, processes, checkpoints or resuming are invalid."""
    require(config.seed >= 0, "--seed", config.seed, "0 or more")
    require(config.seed < 2**32, "--seed", config.seed, f"below {2**32}")
    _check_processes(config)
    if config.seeds is not None:
        seeds.expand(config.seeds, config.seed)
    _check_resuming(config)


def check_images(config: RunConfig, images: int) -> int:
    """Return the number of training images; InputError if the config does not fit it."""
    half, validation = images // 2, config.validation
    require(validation <= half, "--validation", validation, f"at most {half}, half of the images")
    learned, batch = images - validation, config.batch_size
    require(batch <= learned, "--batch-size", batch, f"at most {learned}, the training images")
    return learned


def _check_processes(config: RunConfig) -> None:
    """Raise InputError if the flags of a distributed run are invalid or inconsistent."""
    given = config.coordinator, config.processes, config.process_id
    seconds, most = config.connect_timeout, 10**6
    expected = f"above 0 and at most {most:,} seconds"
    require(0 < seconds <= most, "--connect-timeout", seconds, expected)
    if not config.distributed:
        for name, value in zip(("coordinator", "processes", "process-id"), given, strict=True):
            require(value is None, f"--{name}", value, "given together with --distributed")
    elif any(value is not None for value in given) and None in given:
        missing = "--coordinator, --processes and --process-id"
        raise InputError(f"{missing} must be given together or not at all")
    elif config.coordinator is not None:
        assert config.processes is not None and config.process_id is not None
        meeting.parse_address(config.coordinator)
        require(config.processes <= 10_000, "--processes", config.processes, "at most 10,000")
        below = config.processes
        require(config.process_id < below, "--process-id", config.process_id, f"below {below}")


def _check_resuming(config: RunConfig) -> None:
    """Raise InputError if `--checkpoint-every` or `--resume` is invalid or changes settings."""
    interval = config.checkpoint_every
    is_interval = re.fullmatch(r"0*[1-9]\d{0,8}|(\d{1,9}(\.\d*)?|\.\d+)m", interval)
    expected = "a number of generations, such as 10, or of minutes, such as 5m"
    require(bool(is_interval), "--checkpoint-every", interval, expected)
    if config.dry_run and config.distributed:
        raise InputError("--dry-run must be left out with --distributed")
    if config.resume is None:
        return
    for name in ("config", "out", "dry_run"):
        if getattr(config, name):
            raise InputError(f"{flag(name)} must be left out with --resume")
    saved = load_config(type(config), config.resume / "config.json", type(config)())
    lowest = saved.lowest_extensions(config.resume)
    identities = resuming.config_identity(saved), resuming.config_identity(config)
    resuming.refuse_differences(*identities, [flag(name) for name in lowest])
    for name, least in lowest.items():
        value = getattr(config, name)
        is_enough = value is None or value >= least or value == getattr(saved, name)
        expected = "None" if least == math.inf else f"{least:.10g} or more"
        require(is_enough, flag(name), value, f"{expected} to extend this run")
