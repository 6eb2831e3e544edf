"""Reading untrusted files: regular files only, with limits on their size."""

import csv
import errno
import io
import json
import math
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

JSON_BYTES = 1_000_000
NETWORK_BYTES = 2**30
"""Limit for a network, however it is stored, and for an SVM."""

_CSV_BYTES = 64_000_000
_ROWS, _CELLS = 200_000, 4_000_000
_LARGEST = 1e300
"""Beyond which sums of numbers overflow."""


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


def read_json(path: Path, kind: type = dict, most: int = JSON_BYTES) -> Any:
    """Read a JSON object, or another kind of value; raises OSError or ValueError."""
    try:
        # Only files with a checksum, which are our own, may be large and hold NaN.
        refuse = _refuse_constant if most == JSON_BYTES else None
        value = json.loads(read(path, most), parse_constant=refuse)
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if type(value) is not kind:
        raise ValueError(f"{path.name} is not a JSON {'object' if kind is dict else kind.__name__}")
    return value


def read_object(path: Path, schema: "Schema", required: Collection[str]) -> dict[str, Any]:
    """Read a JSON object whose values fit the schema, where they are there and not null.

    Raises OSError, or ValueError that names what does not fit or is missing.
    """
    values = read_json(path)
    for name in {*schema} & {*values}:
        if values[name] is not None and not schema[name](values[name]):
            raise ValueError(f"{path.name} has a value of {name} that is out of range")
    for name in required:
        if values.get(name) is None:
            raise ValueError(f"{path.name} has no {name}")
    return values


Schema = Mapping[str, Callable[[Any], bool]]
"""Whether a value fits, by name."""


def within(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    """The check that a value is a finite number from `low` to `high`."""

    def check(value: Any) -> bool:
        return type(value) in (int, float) and abs(value) <= _LARGEST and low <= value <= high

    return check


def is_text(value: Any) -> bool:
    """Whether a value is a text."""
    return type(value) is str


def is_seed(value: Any) -> bool:
    """Whether a value is a seed."""
    return type(value) is int and 0 <= value < 2**32


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


class Range(NamedTuple):
    """The smallest and the largest value of a column, and whether some may be infinite or NaN."""

    low: float
    high: float = math.inf
    is_finite: bool = True


def read_columns(path: Path, ranges: Mapping[str, Range]) -> dict[str, np.ndarray]:
    """Read the named columns that are present in a numeric CSV file; OSError or ValueError."""
    content = read(path, _CSV_BYTES)
    if max(content.count(b"\n"), content.count(b"\r")) > _ROWS or content.count(b",") > _CELLS:
        raise ValueError(f"{path.name} has more than {_ROWS:,} rows or {_CELLS:,} cells")
    stream = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
    try:
        rows = csv.reader(stream)
        titles = next(rows, [])
        indices = {name: titles.index(name) for name in ranges if name in titles}
        columns: dict[str, list[float]] = {name: [] for name in indices}
        for row in rows:
            if len(row) != len(titles):
                raise ValueError(f"{path.name} has rows of different lengths")
            for name, index in indices.items():
                columns[name].append(float(row[index]))
    except csv.Error as error:
        raise ValueError(f"{path.name} is not a CSV file: {error}") from None
    arrays = {name: np.array(column, float) for name, column in columns.items()}
    for name, values in arrays.items():
        low, high, is_finite = ranges[name]
        finite = np.isfinite(values)
        fits = (values >= low) & (values <= high) & finite
        if not (fits if is_finite else fits | ~finite).all():
            raise ValueError(f"{path.name} has a value of {name} that is out of range")
    return arrays


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
