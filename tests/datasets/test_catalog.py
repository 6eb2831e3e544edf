"""The embedded data set and IDX files."""

import gzip
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from dataset_files import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    assert_one_sentence,
    assert_same,
    idx_bytes,
    make_arrays,
    write_idx_files,
)
from sklearn.datasets import load_digits

from experiments.datasets import catalog as datasets
from experiments.datasets import command
from experiments.running.cli import InputError


def test_mnist5k_is_balanced_small_and_shuffled():
    dataset = datasets.load("mnist5k")
    assert dataset.name == "mnist5k" and dataset.source == "embedded"
    assert dataset.train_images.shape == (5000, 28, 28, 1)
    assert dataset.test_images.shape == (1000, 28, 28, 1)
    assert dataset.train_images.dtype == np.uint8 and dataset.train_labels.dtype == np.int32
    assert np.bincount(dataset.train_labels).tolist() == [500] * 10
    assert np.bincount(dataset.test_labels).tolist() == [100] * 10
    for labels in (dataset.train_labels, dataset.test_labels):
        assert np.mean(labels[1:] == labels[:-1]) < 0.2
        assert np.bincount(labels[: len(labels) // 10], minlength=10).min() > 0
    assert 20 < dataset.train_images.mean() < 50
    assert datasets._MNIST5K.stat().st_size < 1_500_000


def test_mnist5k_test_images_are_not_training_images():
    dataset = datasets.load("mnist5k")
    train = {image.tobytes() for image in dataset.train_images}
    test = {image.tobytes() for image in dataset.test_images}
    assert len(train) == 5000 and len(test) == 1000 and not train & test


def test_embed_takes_even_steps_and_is_deterministic(tmp_path):
    arrays = make_arrays()
    arrays[TRAIN_LABELS] = np.arange(6000) % 10
    arrays[TRAIN_IMAGES] = np.zeros((6000, 28, 28), np.uint8)
    arrays[TRAIN_IMAGES][:, 0, :2] = np.stack(np.divmod(np.arange(6000), 256), axis=1)
    arrays[TEST_LABELS], arrays[TEST_IMAGES] = arrays[TRAIN_LABELS], arrays[TRAIN_IMAGES]
    folder = write_idx_files(tmp_path / "idx", arrays, compress=False)
    for name in ("one.npz", "two.npz"):
        command._embed(folder, tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as made:
        pixels, labels = made["test_images"][:, 0, :2, 0].astype(int), made["test_labels"]
    indices = pixels[:, 0] * 256 + pixels[:, 1]
    assert np.array_equal(labels, indices % 10)
    assert sorted(indices[labels == 3]) == [3 + 60 * step for step in range(100)]


@pytest.mark.parametrize("name", ["mnist5k", "digits", "cifar10"])
def test_data_dir_does_not_apply(name, tmp_path):
    with pytest.raises(InputError) as error:
        datasets.load(name, tmp_path)
    assert_one_sentence(error, f"--data-dir {tmp_path}", f"--dataset {name}")


def test_unknown_name():
    with pytest.raises(InputError) as error:
        datasets.load("imagenet")
    assert_one_sentence(error, "--dataset imagenet", "mnist5k", "cifar10")


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("subfolder", ["", "fashion_mnist"])
def test_idx_files(tmp_path, compress, subfolder):
    arrays = make_arrays()
    folder = write_idx_files(tmp_path / subfolder, arrays, compress)
    dataset = datasets.load("fashion_mnist", tmp_path)
    assert dataset.name == "fashion_mnist" and dataset.source == f"IDX files in {folder}"
    assert_same(dataset, arrays)
    assert np.array_equal(dataset.test_images[..., 0], arrays[TEST_IMAGES])
    assert np.array_equal(dataset.test_labels, arrays[TEST_LABELS])


def _cut(content):
    return content[: len(content) * 2 // 3]


DAMAGES = {
    "truncated gzip": (f"{TRAIN_IMAGES}.gz", _cut, "truncated"),
    "truncated data": (
        f"{TEST_IMAGES}.gz",
        lambda content: gzip.compress(_cut(gzip.decompress(content))),
        "truncated",
    ),
    "truncated header": (TEST_IMAGES, lambda content: gzip.decompress(content)[:9], "truncated"),
    "empty": (TEST_LABELS, lambda content: b"", "not an IDX file"),
    "not gzip": (f"{TEST_LABELS}.gz", gzip.decompress, "a damaged gzip file"),
    "broken gzip": (
        f"{TRAIN_IMAGES}.gz",
        lambda content: content[:5000] + bytes(1000) + content[6000:],
        "",
    ),
    "trailing bytes": (
        TRAIN_LABELS,
        lambda content: gzip.decompress(content) + b"\0",
        "bytes after the 120 items",
    ),
    "wrong magic": (
        TRAIN_LABELS,
        lambda content: b"\0\0\x09\x01" + gzip.decompress(content)[4:],
        "not an IDX file",
    ),
    "images for labels": (
        TEST_LABELS,
        lambda content: idx_bytes(np.zeros((20, 28, 28))),
        "not an IDX file",
    ),
    "wrong size of images": (
        TEST_IMAGES,
        lambda content: idx_bytes(np.zeros((20, 14, 14))),
        "(14, 14)",
    ),
    "huge count": (
        TRAIN_IMAGES,
        lambda content: struct.pack(">4I", 0x803, 0xFFFFFFFF, 28, 28),
        "4294967295 items",
    ),
    "no items": (TRAIN_LABELS, lambda content: struct.pack(">2I", 0x801, 0), "0 items"),
    "label out of range": (
        TEST_LABELS,
        lambda content: idx_bytes(np.full(20, 10)),
        "the label 10",
    ),
    "fewer labels": (TEST_LABELS, lambda content: idx_bytes(np.zeros(19)), "19 labels"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_idx_file_is_told_in_one_sentence(tmp_path, damage):
    name, change, part = DAMAGES[damage]
    write_idx_files(tmp_path, make_arrays())
    original = tmp_path / f"{name.removesuffix('.gz')}.gz"
    content = original.read_bytes()
    original.unlink()
    (tmp_path / name).write_bytes(change(content))
    with pytest.raises(InputError) as error:
        datasets.load("mnist", tmp_path)
    assert_one_sentence(error, f"--data-dir {tmp_path}", name, part)


def test_missing_idx_file(tmp_path):
    write_idx_files(tmp_path, make_arrays())
    (tmp_path / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(InputError) as error:
        datasets.load("mnist", tmp_path)
    assert_one_sentence(error, f"--data-dir {tmp_path}", TEST_LABELS, "missing")


def test_gzip_bomb_is_not_unpacked(tmp_path):
    write_idx_files(tmp_path, make_arrays())
    bomb = idx_bytes(np.zeros((10, 28, 28))) + bytes(100_000_000)
    (tmp_path / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(bomb, 1))
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            datasets.load("mnist", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert_one_sentence(error, f"{TRAIN_IMAGES}.gz", "bytes after the 10 items")


def test_importing_datasets_does_not_import_tfds():
    code = (
        "import sys, experiments.datasets.catalog; "
        "assert not {'tensorflow_datasets', 'requests', 'PIL'} & set(sys.modules)"
    )
    root = Path(datasets.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.skipif("GAJAX_TEST_DATA" not in os.environ, reason="GAJAX_TEST_DATA is not set")
def test_official_mnist_and_the_set_embedded_from_it(tmp_path):
    folder = Path(os.environ["GAJAX_TEST_DATA"])
    dataset = datasets.load("mnist", folder)
    assert dataset.train_images.shape == (60000, 28, 28, 1)
    assert dataset.test_images.shape == (10000, 28, 28, 1)
    assert dataset.train_images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    command._embed(folder / "mnist", tmp_path / "made.npz")
    with np.load(tmp_path / "made.npz", allow_pickle=False) as made:
        for field, array in datasets.load("mnist5k")._asdict().items():
            if field not in ("name", "source"):
                assert np.array_equal(made[field], array)


def test_digits_are_those_of_scikit_learn():
    dataset = datasets.load("digits")
    values, targets = load_digits(return_X_y=True)
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    assert images.shape == (1797, 8, 8, 1) and len(dataset.test_images) == 597
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(labels, targets)
    np.testing.assert_allclose(images.reshape(-1, 64) / 255, values / 16, atol=0.002)
    for part in (dataset.train_labels, dataset.test_labels):
        assert np.bincount(part).min() > len(part) / 12
