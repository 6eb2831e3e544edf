"""Comparisons: many runs in one directory, made piece by piece, and their summaries."""

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
    """The config of a comparison's command line, whose presets are those of single runs."""
    return parse(
        config_type,
        arguments,
        presets={name: config_type(**asdict(preset)) for name, preset in presets.items()},
        program=program,
        description=description or "",
    )


def shared_config(config_type: type[ConfigType], given: RunConfig) -> ConfigType:
    """What all runs of a comparison share, as the config of a single run without a directory."""
    values = {field.name: getattr(given, field.name) for field in fields(config_type)}
    config = config_type(**values)
    return replace(config, out=None, config=None, resume=None, seeds=None, dry_run=False)


def seeds_of(given: RunConfig) -> Sequence[int]:
    """The seeds of each method; InputError where they are wrong."""
    return seeds.expand((1,) if given.seeds is None else given.seeds, given.seed)


def refuse_resume(given: RunConfig) -> None:
    """InputError where a comparison is to be resumed as a single run is."""
    require(given.resume is None, "--resume", given.resume, "left out: --out goes on by itself")


@contextmanager
def open_directory(given: Any, name: str) -> Iterator[Path]:
    """The directory of a comparison, for this process alone; the config is that of its flags."""
    directory = given.out or run_directory.new_directory(None, name)
    run_directory.make_directory(directory)
    advice = f"go on with the same command and --out {shlex.quote(str(directory))}"
    with run_directory.locked(directory, "--out"), resuming.advice_on_interruption(advice):
        yield directory


def is_done(config: RunConfig, directory: Path) -> bool:
    """Whether the run is there; InputError where it is there with another config."""
    if not run_directory.is_finished(directory):
        return False
    saved = load_config(type(config), directory / "config.json", type(config)())
    shown: Any = {
        name: getattr(config, name)
        for name in ("quiet", "plot", "checkpoint_every", *devices.FIELDS)
        if hasattr(config, name)
    }
    if replace(saved, **shown) != config:
        raise InputError(f"--out must not hold runs of other settings, as {directory} is one")
    return True


def run_once(config: RunConfig, directory: Path, run: Callable[[Path], object]) -> None:
    """Have `run(directory)` fill the directory unless it has done so already with this config."""
    if not is_done(config, directory):
        run_directory.make_directory(directory)
        run(directory)
        cache.clear_programs()


def summaries(
    directory: Path, methods: Collection[str], measures: Iterable[str]
) -> list[dict[str, Any]]:
    """The summaries of all runs in a directory, with their `directory` there.

    InputError where one is not that of such a method and a seed, or a measure in it is no number.
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
            math.fsum(known)  # refuses whole numbers that no float can hold
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            raise damaged_run(path) from None
    return rows


def damaged_run(path: Path) -> InputError:
    """What to say of a file of a run that cannot be read."""
    return InputError(f"--out must hold nothing but sound runs, and {path} is not of one")
