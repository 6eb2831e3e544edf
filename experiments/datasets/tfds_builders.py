"""MNIST, Fashion-MNIST and CIFAR-10 through TensorFlow Datasets, without TensorFlow.

The stock builders need TensorFlow to prepare a set. This module has its own builder, with the same
names and versions, and also reads sets that a stock builder has prepared as array_record.
"""

import contextlib
import io
import os
import queue
import shutil
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import requests
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download.checksums import UrlInfo, compute_url_info, load_url_infos

from experiments.datasets import idx
from experiments.running import cache, files
from experiments.running.cli import InputError

Splits = dict[str, tuple[np.ndarray, np.ndarray]]

_FOLDER = "tensorflow_datasets"
_TIMEOUT_SECONDS = 6.0
_READ_BATCH = 10_000
_FEATURES = {"features_dict.FeaturesDict", "image_feature.Image", "class_label_feature.ClassLabel"}
_FEATURE_KEYS = ("pythonClassName", "python_class_name", "type")
_CIFAR10_BATCH_BYTES = 10_000 * (1 + 3 * 32 * 32)
_CIFAR10_BATCHES = {
    "train": [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["cifar-10-batches-bin/test_batch.bin"],
}


def read(name: str, manual_dir: Path | None = None) -> tuple[str, Splits]:
    """Read a set, and prepare it first if necessary; raises InputError.

    If `manual_dir` is given, the published files are read from there instead of downloaded. Returns
    the source and {"train" | "test": (images uint8 [N, H, W, C], labels int32 [N])}.
    """
    part = Path(name) / _SETS[name].version
    stock = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = Path(os.path.expanduser(stock)) / part
    with _quiet():
        if not _is_readable(folder):
            root = cache.folder(_FOLDER)
            if root is None:
                raise InputError(
                    f"--dataset {name} cannot be prepared for a user without a home: set "
                    "GAJAX_CACHE_DIR to a writable folder."
                )
            folder = root / part
            if not _is_readable(folder):
                _prepare(name, root, manual_dir)
        try:
            builder = tfds.builder_from_directory(folder, file_format="array_record")
            splits = {split: _read_split(builder, split) for split in ("train", "test")}
        except ImportError:
            raise
        except Exception as error:  # TFDS and array_record raise many unrelated classes.
            raise InputError(
                f"--dataset {name} cannot be read from {folder}: delete that folder and run again."
            ) from error
    return f"TFDS {name}:{_SETS[name].version} in {folder}", splits


def _read_split(builder: tfds.core.DatasetBuilder, split: str) -> tuple[np.ndarray, np.ndarray]:
    # Decode with Pillow, because TFDS would use OpenCV if it is installed.
    decoders = {"image": tfds.decode.SkipDecoding()}
    source = builder.as_data_source(split, decoders=decoders)  # pyright: ignore[reportCallIssue]
    images, labels = [], []
    shape = _SETS[builder.name].image_shape
    for start in range(0, len(source), _READ_BATCH):
        for record in source.__getitems__(range(start, min(start + _READ_BATCH, len(source)))):
            with Image.open(io.BytesIO(record["image"]), formats=["PNG"]) as image:
                if image.size != shape[1::-1]:
                    raise ValueError(f"an image has the wrong size {image.size}")
                images.append(np.asarray(image))
            labels.append(record["label"])
    return np.stack(images).reshape(-1, *shape), np.array(labels, np.int32)


def _is_readable(folder: Path) -> bool:
    try:
        _check_features(folder)
        tfds.builder_from_directory(folder, file_format="array_record")
    except Exception:  # Absent, in another format, or not a data set.
        return False
    return True


def _check_features(folder: Path) -> None:
    """Raise ValueError for unknown features, because TFDS imports the modules they name."""
    files.read_json(folder / "dataset_info.json")
    for value in files.nested_objects(files.read_json(folder / "features.json")):
        for name in (value[key] for key in _FEATURE_KEYS if key in value):
            if str(name).removeprefix("tensorflow_datasets.core.features.") not in _FEATURES:
                raise ValueError(f"{name} is an unknown feature")


def _prepare(name: str, root: Path, manual_dir: Path | None) -> None:
    """Download the published files, verify them and write the set into the cache folder."""
    print(f"preparing {name} ...", file=sys.stderr)
    target = root / name / _SETS[name].version
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="preparing-", dir=root) as work:
            folder = Path(work) if manual_dir is None else manual_dir
            for file_name, (url, info) in _registered_files(name).items():
                if manual_dir is None:
                    _fetch(name, url, info, folder / file_name)
                _check(name, folder / file_name, info)
            builder = _Builder(name, _SETS[name].read(folder), work)
            builder.download_and_prepare(
                download_dir=work,
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                file_format="array_record",  # Reading the default format needs TensorFlow.
            )
            # Moved atomically, so that the folder never holds a partial set.
            if not _is_readable(target):
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                Path(builder.data_dir).rename(target)
    except OSError as error:
        raise InputError(
            f"--dataset {name} cannot be prepared in {root} ({error.strerror or error}): set "
            "GAJAX_CACHE_DIR to a writable folder with enough space."
        ) from error


def _registered_files(name: str) -> dict[str, tuple[str, UrlInfo]]:
    """Return {file name: (URL, size and SHA-256)} as registered in TFDS."""
    registered = load_url_infos(tfds.core.tfds_path() / "url_checksums" / f"{name}.txt")
    return {url.rsplit("/", 1)[1]: (url, info) for url, info in registered.items()}


def _check(name: str, path: Path, info: UrlInfo) -> None:
    if not path.is_file():
        raise InputError(f"--dataset {name} needs the file {path}, which is missing: add it.")
    if compute_url_info(path) != info:
        raise InputError(
            f"--dataset {name}: {path.name} differs in size or SHA-256 from the one registered "
            "with TFDS: try again later or choose --dataset mnist5k."
        )


def _fetch(name: str, url: str, info: UrlInfo, path: Path) -> None:
    try:
        with _open(url) as response, path.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                if file.tell() > info.size:
                    break
    except requests.RequestException as error:
        raise InputError(
            f"--dataset {name} cannot be fetched from {url} ({type(error).__name__}): check the "
            "network or choose --dataset mnist5k, which needs none."
        ) from error


def _open(url: str) -> requests.Response:
    answers: queue.SimpleQueue[requests.Response | requests.RequestException] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS))
        except requests.RequestException as error:
            answers.put(error)

    # In a thread, because the timeout of requests excludes name resolution and is per address.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_TIMEOUT_SECONDS)
    except queue.Empty:
        answer = requests.ConnectTimeout()
    if isinstance(answer, requests.RequestException):
        raise answer
    return answer


def _read_cifar10(folder: Path) -> Splits:
    """Read the six batches of the published archive in memory."""
    wanted = {member for members in _CIFAR10_BATCHES.values() for member in members}
    batches = {}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "r|gz") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name in wanted else None
            if stream is not None:
                content = stream.read(_CIFAR10_BATCH_BYTES)
                batches[member.name] = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    splits = {}
    for split, members in _CIFAR10_BATCHES.items():
        records = np.concatenate([batches[member] for member in members])
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = images, records[:, 0].astype(np.int32)
    return splits


class _Set(NamedTuple):
    version: str
    image_shape: tuple[int, int, int]
    read: Callable[[Path], Splits]


_SETS = {
    "mnist": _Set("3.0.1", (28, 28, 1), idx.read_splits),
    "fashion_mnist": _Set("3.0.1", (28, 28, 1), idx.read_splits),
    "cifar10": _Set("3.0.2", (32, 32, 3), _read_cifar10),
}


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes arrays as the TFDS set `name`."""

    def __init__(self, name: str, splits: Splits, data_dir: str) -> None:
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self.VERSION = tfds.core.Version(_SETS[name].version)
        self._splits = splits
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=_SETS[self.name].image_shape, encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(*pair) for split, pair in self._splits.items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
        # Keys and order as in the stock builders, because they determine the order of records.
        for key, (image, label) in enumerate(zip(images, labels, strict=True)):
            # Encode with Pillow, because TFDS would use TensorFlow.
            png = io.BytesIO()
            Image.fromarray(image.squeeze()).save(png, "PNG")
            yield key, {"image": png.getvalue(), "label": int(label)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output and progress bars of TFDS."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield
