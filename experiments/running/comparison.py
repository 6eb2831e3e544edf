"""Comparisons: several runs in one directory, extended by repeated calls, and their summaries."""

import math
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from experiments.running import cache, devices, files, resuming, run_directory, seeds
from experiments.running.cli import InputError, require
from experiments.running.config import RunConfig
from experiments.running.parsing import load_config, parse

ConfigType = TypeVar("ConfigType", bound=RunConfig)


def parse_config(
    config_type: type[ConfigType],
    arguments: list[str],
    presets: Mapping[str, RunConfig],
    program: str,
    description: str | None,
) -> ConfigType:
    """Parse the command line of a comparison, with the presets of single runs."""
    return parse(
        config_type,
        arguments,
        presets={name: config_type(**asdict(preset)) for name, preset in presets.items()},
        program=program,
        description=description or "",
    )


def shared_config(config_type: type[ConfigType], given: RunConfig) -> ConfigType:
    """The settings shared by all runs of a comparison, as the config of a single run."""
    values = {field.name: getattr(given, field.name) for field in fields(config_type)}
    left_out = {"out": None, "config": None, "resume": None, "seeds": None}
    return replace(config_type(**values), **left_out, dry_run=False, discard_state=True)


def seeds_of(given: RunConfig) -> Sequence[int]:
    """The seeds of each method; InputError if they are invalid."""
    return seeds.expand((1,) if given.seeds is None else given.seeds, given.seed)


def refuse_resume(given: RunConfig) -> None:
    """Raise InputError if `--resume` is given, which applies to single runs only."""
    require(
        given.resume is None,
        "--resume",
        given.resume,
        "left out: with the same --out a comparison resumes",
    )


@contextmanager
def open_directory(given: Any, name: str) -> Iterator[Path]:
    """Create or reopen the directory of a comparison and lock it."""
    directory = given.out or run_directory.new_directory(None, name)
    run_directory.make_directory(directory)
    advice = f"resume with the same command and --out {shlex.quote(str(directory))}"
    with run_directory.locked(directory, "--out"), resuming.advice_on_interruption(advice):
        yield directory


def is_done(config: RunConfig, directory: Path) -> bool:
    """Whether the run is finished; InputError if it has different settings."""
    if not run_directory.is_finished(directory):
        return False
    saved = load_config(type(config), directory / "config.json", type(config)())
    shown: Any = {
        name: getattr(config, name)
        for name in ("quiet", "plot", "checkpoint_every", "discard_state", *devices.FIELDS)
        if hasattr(config, name)
    }
    if replace(saved, **shown) != config:
        raise InputError(f"--out must not hold runs with other settings, such as {directory}")
    return True


def title(name: str, seed: int, number: int, total: int) -> str:
    """The title of the progress of a run, which is one of several."""
    return f"{name}, seed {seed} ({number} of {total}): "


def run_once(config: RunConfig, directory: Path, run: Callable[[Path], object]) -> None:
    """Call `run(directory)` unless the directory already holds the finished run."""
    if not is_done(config, directory):
        run_directory.make_directory(directory)
        run(directory)
        cache.clear_programs()


def summaries(
    directory: Path, methods: Collection[str], measures: Iterable[str]
) -> list[dict[str, Any]]:
    """Read the summaries of all runs in a directory, and add the `directory` of each.

    InputError if one has an unknown method or no seed, or if a measure is not a number.
    """
    rows = []
    for path in sorted(directory.glob("*/summary.json")):
        try:
            summary = files.read_json(path)
            is_one = summary["method"] in methods and type(summary["seed"]) is int
            known = [summary[name] for name in measures if summary.get(name) is not None]
            if not (is_one and all(type(value) in (int, float) for value in known)):
                raise ValueError
            rows.append({**summary, "directory": path.parent})
            math.fsum(known)  # raises for integers beyond the range of floats
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            raise damaged_run(path) from None
    return rows


def damaged_run(path: Path) -> InputError:
    """The error for a run with a file that cannot be read."""
    return InputError(f"--out must hold only intact runs, and {path} is damaged")
