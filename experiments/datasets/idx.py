"""Reader of IDX files, the format of MNIST and Fashion-MNIST."""

import os
import struct
import zlib
from collections.abc import Callable
from io import BufferedReader
from math import prod
from pathlib import Path

import numpy as np

from experiments.running import files

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_IMAGE_SIZE = (28, 28)
_CLASSES = 10
_MAX_ITEMS = 100_000
_MAX_MEMBERS = 10_000  # a file compressed in blocks of 64 kilobytes has a thousand
_CHUNK, _GZIP = 2**16, 31  # of zlib: the format gzip
_MAX_BYTES = _MAX_ITEMS * prod(_IMAGE_SIZE) + 1_000  # compressed or not


def read_splits(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the four files of a folder, plain or .gz.

    Returns {"train" | "test": (images uint8 [N, 28, 28, 1], labels int32 [N])}. Raises ValueError
    that names the invalid file.
    """
    return {split: _read_pair(folder, *names) for split, names in FILES.items()}


def _read_pair(folder: Path, images_name: str, labels_name: str) -> tuple[np.ndarray, np.ndarray]:
    images_path, labels_path = _find(folder, images_name), _find(folder, labels_name)
    images = _read(images_path, _IMAGE_SIZE)
    labels = _read(labels_path, ())
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path.name} has {len(images)} images but {labels_path.name} has "
            f"{len(labels)} labels"
        )
    if labels.max() >= _CLASSES:
        raise ValueError(
            f"{labels_path.name} has the label {labels.max()}, outside 0..{_CLASSES - 1}"
        )
    return images[..., None], labels.astype(np.int32)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if os.path.isfile(path):  # unlike Path.is_file, False for names that are too long
            return path
    raise ValueError(f"{name} or {name}.gz is missing in {folder}")


def _read(path: Path, item_shape: tuple[int, ...]) -> np.ndarray:
    """Read one file of unsigned bytes whose items have the given shape."""
    try:
        if files.size(path) > _MAX_BYTES:
            raise ValueError(f"{path.name} is larger than {_MAX_BYTES:,} bytes")
        with path.open("rb") as stream:
            read = _inflate(stream, path.name) if path.suffix == ".gz" else stream.read
            return _read_stream(read, path.name, item_shape)
    except EOFError as error:
        raise ValueError(f"{path.name} is truncated") from error
    except zlib.error as error:
        raise ValueError(f"{path.name} is a damaged gzip file") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror or error})") from error


def _inflate(stream: BufferedReader, name: str) -> Callable[[int], bytes | bytearray]:
    """The function `read(size)` of the content of a gzip file, which has few members.

    The reader of the standard library goes through millions of empty members without end.
    """
    member, members, pending = None, 0, b""

    def read(size: int) -> bytearray:
        nonlocal member, members, pending
        content = bytearray()
        while len(content) < size:
            pending = pending or stream.read(_CHUNK)
            if member is None:
                pending = pending.lstrip(b"\0")  # which may fill the space between members
                members += bool(pending)
                member = zlib.decompressobj(_GZIP) if pending else None
            if members > _MAX_MEMBERS:
                raise ValueError(f"{name} has more than {_MAX_MEMBERS:,} gzip members")
            if not pending and member:
                raise EOFError
            if member is None:
                if not stream.peek(1):
                    break
                continue
            content += member.decompress(pending, size - len(content))
            pending = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
        return content

    return read


def _read_stream(
    read: Callable[[int], bytes | bytearray], name: str, item_shape: tuple[int, ...]
) -> np.ndarray:
    dimensions = 1 + len(item_shape)
    header = read(4 + 4 * dimensions)
    # IDX: two zero bytes, 0x08 for unsigned bytes, then the number of dimensions.
    if header[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"{name} is not an IDX file of bytes in {dimensions} dimensions")
    if len(header) < 4 + 4 * dimensions:
        raise ValueError(f"{name} is truncated")
    count, *found_shape = struct.unpack(f">{dimensions}I", header[4:])
    if tuple(found_shape) != item_shape:
        raise ValueError(f"{name} has items of shape {tuple(found_shape)}, not {item_shape}")
    if not 1 <= count <= _MAX_ITEMS:
        raise ValueError(f"{name} claims {count} items, outside 1..{_MAX_ITEMS}")
    size = count * prod(item_shape)
    # One more byte than announced is enough to detect excess content.
    content = read(size + 1)
    if len(content) < size:
        raise ValueError(f"{name} is truncated")
    if len(content) > size:
        raise ValueError(f"{name} has bytes after the {count} items it announces")
    return np.frombuffer(content, np.uint8).reshape(count, *item_shape)
