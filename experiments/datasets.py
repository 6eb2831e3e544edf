"""Image classification data sets for the experiments.

`python -m experiments.datasets --data-dir DIR --to FILE` makes the embedded set again from the
official MNIST files in DIR.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import idx
from experiments.cli import InputError

_MNIST5K = Path(__file__).parent / "data" / "mnist5k.npz"
_MNIST5K_PER_CLASS = {"train": 500, "test": 100}


class Dataset(NamedTuple):
    """Images uint8 [N, H, W, C] and labels int32 [N]; `source` tells where they were read."""

    name: str
    source: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Load a data set by the values of --dataset and --data-dir; raises InputError."""
    if name not in DATASETS:
        raise InputError(f"--dataset {name} is unknown, choose one of {', '.join(DATASETS)}.")
    return DATASETS[name](data_dir)


def _mnist5k(data_dir: Path | None) -> Dataset:
    if data_dir is not None:
        raise InputError(
            f"--data-dir {data_dir} does not apply to --dataset mnist5k, which is embedded: "
            "leave it out or choose --dataset mnist."
        )
    with np.load(_MNIST5K, allow_pickle=False) as arrays:
        return Dataset("mnist5k", "embedded", *(arrays[field] for field in Dataset._fields[2:]))


def _mnist(data_dir: Path | None) -> Dataset:
    return _from_tfds("mnist") if data_dir is None else _from_idx_files("mnist", data_dir)


def _fashion_mnist(data_dir: Path | None) -> Dataset:
    if data_dir is None:
        return _from_tfds("fashion_mnist")
    return _from_idx_files("fashion_mnist", data_dir)


def _cifar10(data_dir: Path | None) -> Dataset:
    if data_dir is not None:
        raise InputError(
            f"--data-dir {data_dir} does not apply to --dataset cifar10, which is not published "
            "as IDX files: leave it out."
        )
    return _from_tfds("cifar10")


DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "mnist5k": _mnist5k,
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
}


def _from_idx_files(name: str, data_dir: Path) -> Dataset:
    """Read the four IDX files in data_dir/name where that folder exists, else in data_dir."""
    folder = data_dir / name if os.path.isdir(data_dir / name) else data_dir
    try:
        splits = idx.read_splits(folder)
    except ValueError as error:
        raise InputError(
            f"--data-dir {data_dir}: {error}; give a folder with the four IDX files of {name}."
        ) from error
    return Dataset(name, f"IDX files in {folder}", *splits["train"], *splits["test"])


def _from_tfds(name: str) -> Dataset:
    try:
        # Imported here because only these sets need TensorFlow Datasets.
        from experiments import tfds_builders

        source, splits = tfds_builders.read(name)
    except ImportError as error:
        raise InputError(
            f"--dataset {name} needs the package {error.name or 'tensorflow-datasets'}, which is "
            "not installed: install it or choose --dataset mnist5k."
        ) from error
    return Dataset(name, source, *splits["train"], *splits["test"])


def _embed(data_dir: Path, to: Path) -> None:
    """Write mnist5k: for each class, images at even steps through the official split."""
    arrays = {}
    for split, (images, labels) in idx.read_splits(data_dir).items():
        count = _MNIST5K_PER_CLASS[split]
        # Even steps, for the first half of the official test images is the easier one.
        of_class = [np.flatnonzero(labels == label) for label in range(10)]
        chosen = np.concatenate(
            [found[np.arange(count) * len(found) // count] for found in of_class]
        )
        # The legacy generator is the one whose stream NumPy never changes.
        chosen = np.random.RandomState(0).permutation(chosen)
        arrays |= {f"{split}_images": images[chosen], f"{split}_labels": labels[chosen]}
    np.savez_compressed(to, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the embedded set mnist5k again.")
    parser.add_argument("--data-dir", type=Path, required=True, help="the official MNIST files")
    parser.add_argument("--to", type=Path, required=True, help="the .npz file to write")
    arguments = parser.parse_args()
    try:
        _embed(arguments.data_dir, arguments.to)
    except (ValueError, OSError) as error:
        parser.error(str(error))
