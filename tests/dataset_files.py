"""Data set files made for tests."""

import gzip
import io
import struct
import tarfile

import numpy as np

from experiments.datasets import idx

TRAIN_IMAGES, TRAIN_LABELS = idx.FILES["train"]
TEST_IMAGES, TEST_LABELS = idx.FILES["test"]


def idx_bytes(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def make_arrays(seed=0, size=28):
    """Small arrays under the names of the four IDX files."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for count, (images, labels) in zip((120, 20), idx.FILES.values(), strict=True):
        arrays[images] = generator.integers(0, 256, (count, size, size), np.uint8)
        arrays[labels] = generator.permutation(np.arange(count) % 10)
    return arrays


def write_idx_files(folder, arrays, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx_bytes(array)
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    return folder


def write_cifar10_archive(folder, seed=0):
    """Write a small archive in the published layout; returns its records by split."""
    generator = np.random.default_rng(seed)
    names = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)]}
    names["test"] = ["test_batch.bin"]
    splits = {}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for split, members in names.items():
            records = generator.integers(0, 256, (7 * len(members), 3073), np.uint8)
            records[:, 0] %= 10
            splits[split] = records
            for member, part in zip(members, np.split(records, len(members)), strict=True):
                entry = tarfile.TarInfo(f"cifar-10-batches-bin/{member}")
                entry.size = part.nbytes
                archive.addfile(entry, io.BytesIO(part.tobytes()))
    return splits


def pairs(images, labels):
    """Images with their labels, in an order that does not depend on the file's."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def assert_same(dataset, arrays):
    assert dataset.train_images.shape == (120, 28, 28, 1)
    assert dataset.train_images.dtype == np.uint8 and dataset.train_labels.dtype == np.int32
    for split in ("train", "test"):
        images, labels = idx.FILES[split]
        found = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        assert pairs(*found) == pairs(arrays[images], arrays[labels])


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def assert_one_sentence(error, *parts):
    message = str(error.value)
    assert message.endswith(".") and ". " not in message and "\n" not in message
    for part in parts:
        assert str(part) in message
