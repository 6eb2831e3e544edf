"""Files from unknown sources: read up to a limit, and only where they are regular ones."""

import csv
import errno
import io
import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

JSON_BYTES = 1_000_000
NETWORK_BYTES = 2**30
"""Of one network in full, whatever its file is like, and of an SVM."""

_CSV_BYTES = 64_000_000


def size(path: Path) -> int:
    """Bytes of a regular file; OSError where it is none, for others may block or never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size


def read(path: Path, most: int) -> bytes:
    """The content of a regular file; ValueError where it is longer than `most` bytes."""
    length = size(path)
    if length > most:
        raise ValueError(f"{path.name} is larger than {most:,} bytes")
    with path.open("rb") as file:
        return file.read(length)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; OSError or ValueError where there is none."""
    try:
        values = json.loads(read(path, JSON_BYTES))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return values


def read_columns(path: Path, names: Iterable[str]) -> dict[str, list[float]]:
    """Those of the named columns that a CSV file of numbers has; OSError or ValueError."""
    content = io.TextIOWrapper(io.BytesIO(read(path, _CSV_BYTES)), "utf-8", newline="")
    try:
        rows = csv.reader(content)
        titles = next(rows, [])
        places = {name: titles.index(name) for name in names if name in titles}
        columns: dict[str, list[float]] = {name: [] for name in places}
        for row in rows:
            if len(row) != len(titles):
                raise ValueError(f"{path.name} has a row of another length than its first")
            for name, place in places.items():
                columns[name].append(float(row[place]))
    except csv.Error as error:
        raise ValueError(f"{path.name} is no CSV file: {error}") from None
    return columns
