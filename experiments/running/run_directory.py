"""Directories of runs, and files in them that are whole, or whole up to a line, at any time."""

import csv
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.running.cli import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None


def new_directory(out: Path | None, name: str) -> Path:
    """Make the run directory, `runs/<time>-<name>` where `out` is None; never one in use."""
    stem = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    directory = out or stem
    number = 1
    while out is None and directory.exists():
        number += 1
        directory = stem.with_name(f"{stem.name}-{number}")
    make_directory(directory)
    require_empty(directory)
    return directory


def require_empty(out: Path | None) -> None:
    """InputError where there is something at the place of a run directory."""
    if out is not None and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"--out must be a new or an empty directory, not {out}")


@contextmanager
def open_run(out: Path | None, resume: Path | None, name: str, reports: bool) -> Iterator[Path]:
    """The directory of a run, new or to be resumed, for this process alone.

    For a process that does not report, it is one that is thrown away.
    """
    if reports:
        directory = resume or new_directory(out, name)
        with locked(directory, "--resume" if resume else "--out"):
            yield directory
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@contextmanager
def locked(directory: Path, flag: str) -> Iterator[None]:
    """Keep other processes out of the directory; InputError where one is there already."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = f"a directory that no other run uses, not {directory}"
            raise InputError(f"{flag} must be {free}") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


@contextmanager
def removed_if_refused(directory: Path) -> Iterator[None]:
    """Remove the empty directory where the block finds a mistake of the user's."""
    try:
        yield
    except InputError:
        if any(directory.iterdir()):  # a run to be resumed
            raise
        directory.rmdir()
        if directory.parent == Path("runs"):
            with suppress(OSError):  # it holds other runs
                directory.parent.rmdir()
        raise


def is_finished(directory: Path) -> bool:
    """Whether a run has left everything there: its summary comes last."""
    return (directory / "summary.json").is_file()


def make_directory(directory: Path) -> None:
    """Make a directory that `--out` names, or one below it; InputError where that fails."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wanted = "a directory that can be written"
        raise InputError(f"--out must be {wanted}, not {directory} ({error.strerror})") from None


@contextmanager
def metrics_file(path: Path, columns: Sequence[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that appends a row of metrics to the CSV file and has it on disk at once."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()

        def write(row: dict[str, Any]) -> None:
            writer.writerow(row)
            file.flush()

        yield write


def save_config(config: "DataclassInstance", path: Path) -> None:
    """Write the config as JSON that `--config` and `load_config` read."""
    write_text(path, json.dumps(dataclasses.asdict(config), default=str, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # it may be a link to a file elsewhere
    partial.write_text(text)
    os.replace(partial, path)
