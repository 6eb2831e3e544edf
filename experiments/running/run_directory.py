"""Run directories, and files in them that are complete, or complete lines, at any time."""

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
    """Create an unused run directory, `runs/<time>-<name>` by default."""
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
    """Raise InputError unless `out` is None, absent or an empty directory."""
    if out is not None and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"--out must be a new or an empty directory, not {out}")


@contextmanager
def open_run(out: Path | None, resume: Path | None, name: str, reports: bool) -> Iterator[Path]:
    """Create or reopen the directory of a run and lock it.

    Processes that do not report get a temporary directory.
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
    """Lock the directory; InputError if another process has locked it."""
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
    """Remove the directory, if it is empty, when the block raises InputError."""
    try:
        yield
    except InputError:
        if any(directory.iterdir()):  # a resumed run
            raise
        directory.rmdir()
        if directory.parent == Path("runs"):
            with suppress(OSError):  # not empty if it holds other runs
                directory.parent.rmdir()
        raise


def is_finished(directory: Path) -> bool:
    """Whether a run is finished; it writes its summary last."""
    return (directory / "summary.json").is_file()


def make_directory(directory: Path) -> None:
    """Create the directory of `--out` or one below it; InputError on failure."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wanted = "a writable directory"
        raise InputError(f"--out must be {wanted}, not {directory} ({error.strerror})") from None


@contextmanager
def metrics_file(path: Path, columns: Sequence[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Open a CSV file; yield a function that appends a row and flushes."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()

        def write(row: dict[str, Any]) -> None:
            writer.writerow(row)
            file.flush()

        yield write


def save_config(config: "DataclassInstance", path: Path) -> None:
    """Write the config as JSON for `--config` and `load_config`."""
    write_text(path, json.dumps(dataclasses.asdict(config), default=str, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # it may be a link to a file elsewhere
    partial.write_text(text)
    os.replace(partial, path)
