"""Reading untrusted files: regular files only, with limits on their size."""

import csv
import errno
import io
import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

JSON_BYTES = 1_000_000
NETWORK_BYTES = 2**30
"""Limit for a network, however it is stored, and for an SVM."""

_CSV_BYTES = 64_000_000


def size(path: Path) -> int:
    """Size in bytes; OSError unless the file is regular, because others may block."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size


def read(path: Path, limit: int) -> bytes:
    """Read a regular file; ValueError if it is larger than `limit` bytes."""
    length = size(path)
    if length > limit:
        raise ValueError(f"{path.name} is larger than {limit:,} bytes")
    with path.open("rb") as file:
        return file.read(length)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises OSError or ValueError."""
    try:
        values = json.loads(read(path, JSON_BYTES))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return values


def nested_objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects within a JSON value, itself included, at any depth."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            yield value


def read_columns(path: Path, names: Iterable[str]) -> dict[str, list[float]]:
    """Read the named columns that are present in a numeric CSV file; OSError or ValueError."""
    content = io.TextIOWrapper(io.BytesIO(read(path, _CSV_BYTES)), "utf-8", newline="")
    try:
        rows = csv.reader(content)
        titles = next(rows, [])
        indices = {name: titles.index(name) for name in names if name in titles}
        columns: dict[str, list[float]] = {name: [] for name in indices}
        for row in rows:
            if len(row) != len(titles):
                raise ValueError(f"{path.name} has rows of different lengths")
            for name, index in indices.items():
                columns[name].append(float(row[index]))
    except csv.Error as error:
        raise ValueError(f"{path.name} is not a CSV file: {error}") from None
    return columns
