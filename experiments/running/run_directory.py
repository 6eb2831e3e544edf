"""Run directories, and files in them that are complete, or complete lines, at any time."""

import csv
import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.running import files, shared_folder
from experiments.running.cli import InputError
from experiments.running.hosts import Hosts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

_PARTIAL = ".partial"
"""Ends the names of files that are being written."""

_BEFORE = {f"config.json{_PARTIAL}", shared_folder.MARK}
"""Files that are written before a run begins."""


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
    """Raise InputError unless `out` is None, absent or an empty directory.

    A process that was killed before it had written its first file has left nothing of use.
    """
    if out is None or not os.path.exists(out):  # False for names that are too long
        return
    if not out.is_dir() or has_begun(out):
        raise InputError(f"--out must be a new or an empty directory, not {out}")


def has_begun(directory: Path) -> bool:
    """Whether the directory holds more than what a process may have left before a run began."""
    return bool({path.name for path in directory.iterdir()} - _BEFORE)


def remove(directory: Path) -> None:
    """Remove the directory of a run that has not begun."""
    with suppress(OSError):  # not empty, or gone
        for name in _BEFORE:
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()
        if directory.parent == Path("runs"):
            directory.parent.rmdir()


@contextmanager
def open_run(out: Path | None, resume: Path | None, name: str, hosts: Hosts) -> Iterator[Path]:
    """Create or reopen the directory of a run and lock it.

    The processes of a distributed run get that of process 0; InputError if one does not see it.
    """
    if not hosts.reports:
        directory = Path(hosts.share(str))
        shared_folder.require_shared(directory, hosts)
        yield directory
        return
    directory = resume or new_directory(out, name)
    with locked(directory, "--resume" if resume else "--out"), removed_if_empty(directory):
        if hosts.count > 1:
            hosts.share(lambda: str(directory.resolve()))
            shared_folder.require_shared(directory, hosts)
        yield directory


@contextmanager
def locked(directory: Path, flag: str) -> Iterator[None]:
    """Lock the directory; InputError if another process has locked it or the folder around it.

    The folder around it may be that of several runs, which train together or are compared.
    """
    if fcntl is None:
        yield
        return
    with ExitStack() as stack:
        modes = {directory.absolute().parent: fcntl.LOCK_SH, directory: fcntl.LOCK_EX}
        for folder, mode in modes.items():
            try:
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                free = f"a directory that no other run uses, not {directory}"
                raise InputError(f"{flag} must be {free}") from None
            except OSError:
                pass  # a file system without locks, or a folder that may not be read
        yield


@contextmanager
def removed_if_empty(directory: Path) -> Iterator[None]:
    """Remove the directory when the block raises before it has written a config."""
    try:
        yield
    except BaseException:
        remove(directory)
        raise


def is_finished(directory: Path) -> bool:
    """Whether a run is finished; it writes its summary last."""
    return (directory / "summary.json").is_file()


SUMMARY: files.Schema = {
    "method": files.is_text,
    "dataset": files.is_text,
    "seed": files.is_seed,
    "cost": files.within(0),
    "gradient_examples": files.within(0),
    "forward_examples": files.within(0),
    "sequential_steps": files.within(0),
    "seconds": files.within(0),
    "gene_count": files.within(0),
}
"""What `summary.json` holds of any run."""


def read_summary(directory: Path, schema: files.Schema = {}) -> dict[str, Any]:  # noqa: B006
    """Read the summary of a finished run, with `SUMMARY` and a further schema.

    Raises OSError or ValueError.
    """
    path = directory / "summary.json"
    return files.read_object(path, {**SUMMARY, **schema}, ("method", "seed", "cost"))


def require_finished(directory: Path, flag: str, schema: files.Schema) -> None:
    """Raise InputError unless the directory holds a finished run with an intact summary."""
    if not os.path.isfile(directory / "summary.json"):  # False for names that are too long
        raise InputError(f"{flag} must be the directory of a finished run, not {directory}")
    try:
        read_summary(directory, schema)
    except (OSError, ValueError) as error:
        raise InputError(f"{flag} {directory} has a damaged summary.json: {error}") from None


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


def save_summary(summary: dict[str, Any], directory: Path) -> None:
    """Write the summary, which marks the run as finished, after all else is on the disk.

    Numbers that are not finite, which JSON lacks, become null.
    """
    flush(directory)
    text = json.dumps(_finite(summary), indent=2, allow_nan=False)
    write_text(directory / "summary.json", text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, and flush it to the disk."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, and flush it to the disk."""
    partial = path.with_name(path.name + _PARTIAL)
    partial.unlink(missing_ok=True)  # it may be a link to a file elsewhere
    try:
        partial.write_bytes(content)
        _flush(partial)
        os.replace(partial, path)
    except OSError as error:  # one while writing does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
    _flush(path.parent)


def flush(folder: Path) -> None:
    """Flush a folder to the disk, with all files and folders below it."""
    for path in [*folder.rglob("*"), folder]:
        _flush(path)


def tidy(directory: Path) -> None:
    """Delete what a finished run needs no more, as after a kill between its end and this."""
    for path in [directory / "checkpoints", *directory.rglob(f"*{_PARTIAL}")]:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # a folder, or no permission
            path.unlink()


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open directories
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
