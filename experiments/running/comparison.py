"""Comparisons: several runs in one directory, extended by repeated calls, and their summaries."""

import math
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.running import cache, devices, files, resuming, run_directory, seeds
from experiments.running.cli import InputError, require
from experiments.running.config import RunConfig
from experiments.running.parsing import load_config, parse

ConfigType = TypeVar("ConfigType", bound=RunConfig)

TUNING = "tuning"
"""Folder of a comparison with the runs on a grid of settings."""

HELD_OUT = 10
"""One image in so many is held out to choose settings by, unless `--validation` is given."""

Make = Callable[[Path], Any]
"""The config of a run in the directory of the comparison, which may depend on runs before it."""


class Row(NamedTuple):
    """A row of a comparison.

    Attributes:
      name: in run directories.
      config_of: `config_of(seed, directory)`, the config of a run.
      grid: changes of the config by name, from which the best are chosen if there are any.
      trial: further changes of the runs that they are chosen by.
      score: of the summary of such a run; the highest is the best.
    """

    name: str
    config_of: Callable[[int, Path], Any]
    grid: Mapping[str, Mapping[str, Any]] = {}
    trial: Mapping[str, Any] = {}
    score: Callable[[Mapping[str, Any]], float] = len


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
    """Raise InputError if `--resume` or `--distributed` is given, which only single runs have."""
    require(
        given.resume is None,
        "--resume",
        given.resume,
        "left out: with the same --out a comparison resumes",
    )
    require(not given.distributed, "--distributed", True, "left out of comparisons")


@contextmanager
def open_directory(given: Any, name: str) -> Iterator[Path]:
    """Create or reopen the directory of a comparison and lock it."""
    directory = given.out or run_directory.new_directory(None, name)
    run_directory.make_directory(directory)
    advice = f"resume with the same command and --out {shlex.quote(str(directory))}"
    told = resuming.advice_on_interruption(partial(resuming.leave, advice, directory))
    with (
        run_directory.locked(directory, "--out"),
        run_directory.removed_if_empty(directory),
        told,
    ):
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
    run_directory.tidy(directory)
    return True


def runs_of(todo: Iterable[tuple[Row, int]]) -> list[tuple[str, Make]]:
    """The name and the config of each run, of rows and seeds.

    A grid is run where its row first comes, and all seeds have the changes that are chosen by it.
    """
    runs: dict[str, Make] = {}
    for row, seed in todo:
        make = partial(row.config_of, seed)
        if row.grid:
            for name in row.grid:
                trial = partial(_changed, make, {**row.trial, **row.grid[name]})
                runs.setdefault(_tuning_path(row, name), trial)
            make = partial(_tuned, make, row)
        runs[f"{row.name}-{seed}"] = make
    return [*runs.items()]


def configs_by_row(todo: Iterable[tuple[Row, int]], directory: Path) -> dict[str, list[Any]]:
    """The configs of the runs of each row, those on a grid first."""
    grouped: dict[str, list[tuple[Row, int]]] = {}
    for row, seed in todo:
        grouped.setdefault(row.name, []).append((row, seed))
    return {
        name: [make(directory) for _, make in runs_of(pairs)] for name, pairs in grouped.items()
    }


def run_all(
    runs: Sequence[tuple[str, Make]],
    directory: Path,
    train: Callable[[Any, str, Path], object],
) -> None:
    """Call `train(config, title, directory)` for all runs that are not finished yet."""
    for number, (name, make) in enumerate(runs, 1):
        directory.stat()  # OSError if it has vanished
        config = make(directory)
        shown = name.removesuffix(f"-{config.seed}")
        title = f"{shown}, seed {config.seed} ({number} of {len(runs)}): "
        run_once(config, directory / name, partial(train, config, title))


def tuning_cost(directory: Path, name: str) -> float:
    """The cost of all runs on the grid of a row."""
    paths = directory.joinpath(TUNING).glob(f"{name}-*/summary.json")
    return math.fsum(_read(path, lambda summary: summary["cost"]) for path in paths)


def _tuning_path(row: Row, name: str) -> str:
    return f"{TUNING}/{row.name}-{name}"


def _changed(make: Make, changes: Mapping[str, Any], directory: Path) -> Any:
    return replace(make(directory), **changes)


def _tuned(make: Make, row: Row, directory: Path) -> Any:
    """The config with the best changes, or the first where none has been tried, as in a dry run."""
    paths = {name: directory / _tuning_path(row, name) / "summary.json" for name in row.grid}
    scores = {name: _read(path, row.score) for name, path in paths.items() if path.exists()}
    best = max(scores, key=lambda name: scores[name], default=next(iter(row.grid)))
    return replace(make(directory), **row.grid[best])


def _read(path: Path, measure: Callable[[Mapping[str, Any]], Any]) -> float:
    """A measure of a summary; InputError if it is damaged."""
    try:
        return float(measure(run_directory.read_summary(path.parent)))
    except (OSError, ValueError, KeyError, TypeError):
        raise damaged_run(path) from None


def run_once(config: RunConfig, directory: Path, run: Callable[[Path], object]) -> None:
    """Call `run(directory)` unless the directory already holds the finished run."""
    if not is_done(config, directory):
        run_directory.make_directory(directory)
        run(directory)
        cache.clear_programs()


def summaries(
    directory: Path, methods: Collection[str], schema: files.Schema
) -> list[dict[str, Any]]:
    """Read the summaries of all runs in a directory, and add the `directory` of each.

    InputError if one has an unknown method or does not fit the schema.
    """
    rows = []
    for path in sorted(directory.glob("*/summary.json")):
        try:
            summary = run_directory.read_summary(path.parent, schema)
            if summary["method"] not in methods:
                raise ValueError
        except (OSError, ValueError):
            raise damaged_run(path) from None
        rows.append({**summary, "directory": path.parent})
    return rows


def damaged_run(path: Path) -> InputError:
    """The error for a run with a file that cannot be read."""
    return InputError(f"--out must hold only intact runs, and {path} is damaged")
