"""Image classification data sets of the experiments."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from experiments.datasets import idx
from experiments.running.cli import InputError

Generated = Literal[
    "mnist_basic",
    "mnist_rotated",
    "mnist_background_random",
    "mnist_background_images",
    "mnist_background_images_rotated",
    "rectangles",
    "rectangles_images",
    "convex",
]
Name = Literal["mnist5k", "digits", "mnist", "fashion_mnist", "cifar10", "cifar10_gray", Generated]

_MNIST5K = Path(__file__).parent / "embedded" / "mnist5k.npz"


class Dataset(NamedTuple):
    """Images uint8 [N, H, W, C] and labels int32 [N], and where they were read from."""

    name: str
    source: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Load a data set by the values of `--dataset` and `--data-dir`; raises InputError."""
    if name not in DATASETS:
        raise InputError(f"--dataset {name} is unknown, choose one of {', '.join(DATASETS)}.")
    return DATASETS[name](data_dir)


def _mnist5k(data_dir: Path | None) -> Dataset:
    _refuse_data_dir(data_dir, "mnist5k, which is embedded")
    with np.load(_MNIST5K, allow_pickle=False) as arrays:
        return Dataset("mnist5k", "embedded", *(arrays[field] for field in Dataset._fields[2:]))


_DIGITS = 1_200
"""Training images of `digits`; the other 597 are by other writers."""


def _digits(data_dir: Path | None) -> Dataset:
    """The digits of scikit-learn, 8 x 8 pixels, in their order."""
    from sklearn.datasets import load_digits  # late, because few runs need it

    _refuse_data_dir(data_dir, "digits, which is part of scikit-learn")
    values, targets = load_digits(return_X_y=True)
    images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = targets.astype(np.int32)
    train, test = slice(_DIGITS), slice(_DIGITS, None)
    splits = images[train], labels[train], images[test], labels[test]
    return Dataset("digits", "scikit-learn", *splits)


def _refuse_data_dir(data_dir: Path | None, given: str) -> None:
    """Raise InputError if there is a folder of data files for a set without them."""
    if data_dir is not None:
        raise InputError(
            f"--data-dir {data_dir} does not apply to --dataset {given}: "
            "leave it out or choose --dataset mnist."
        )


def _mnist(data_dir: Path | None) -> Dataset:
    return _from_tfds("mnist") if data_dir is None else _from_idx_files("mnist", data_dir)


def _fashion_mnist(data_dir: Path | None) -> Dataset:
    if data_dir is None:
        return _from_tfds("fashion_mnist")
    return _from_idx_files("fashion_mnist", data_dir)


def _cifar10(data_dir: Path | None) -> Dataset:
    _refuse_data_dir(data_dir, "cifar10, which is not published as IDX files")
    return _from_tfds("cifar10")


def _cifar10_gray(data_dir: Path | None) -> Dataset:
    from experiments.datasets.generated import gray  # late, because few runs need it

    colored = _cifar10(data_dir)
    parts = {
        name: gray(getattr(colored, name))[..., None] for name in ("train_images", "test_images")
    }
    return colored._replace(name="cifar10_gray", **parts)


def _generated(name: str, data_dir: Path | None) -> Dataset:
    """Generate a set, in the published size only if the official digits are given."""
    from experiments.datasets import generated  # late, because few runs need it

    digits = _mnist5k(None) if data_dir is None else _mnist(data_dir)
    sizes = generated.PUBLISHED[name]
    if data_dir is None:
        sizes = max(_MIN_TRAINING_IMAGES, sizes[0] // _SIZE_DIVISOR), sizes[1] // _SIZE_DIVISOR
    splits = generated.make(
        name,
        sizes,
        (digits.train_images[..., 0], digits.train_labels),
        (digits.test_images[..., 0], digits.test_labels),
    )
    images = [images[..., None] for images, _ in splits]
    labels = [labels for _, labels in splits]
    source = (
        f"generated from {digits.name}, {digits.source}"
        if name.startswith("mnist")
        else "generated"
    )
    return Dataset(name, source, images[0], labels[0], images[1], labels[1])


_SIZE_DIVISOR, _MIN_TRAINING_IMAGES = 12, 1_000
"""Sets generated from the 6,000 embedded digits have a twelfth of the published size."""

DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "mnist5k": _mnist5k,
    "digits": _digits,
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "cifar10_gray": _cifar10_gray,
    **{name: partial(_generated, name) for name in get_args(Generated)},
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
        from experiments.datasets import tfds_builders

        source, splits = tfds_builders.read(name)
    except ImportError as error:
        raise InputError(
            f"--dataset {name} needs the package {error.name or 'tensorflow-datasets'}, which is "
            "not installed: install it or choose --dataset mnist5k."
        ) from error
    return Dataset(name, source, *splits["train"], *splits["test"])
