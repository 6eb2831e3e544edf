"""Tests of the data sets, all offline."""

import gzip
import http.server
import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from experiments import datasets, idx
from experiments.cli import InputError

TRAIN_IMAGES, TRAIN_LABELS = idx.FILES["train"]
TEST_IMAGES, TEST_LABELS = idx.FILES["test"]


def _idx_bytes(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def _arrays(seed=0, size=28):
    """Small arrays under the names of the four IDX files."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for count, (images, labels) in zip((120, 20), idx.FILES.values(), strict=True):
        arrays[images] = generator.integers(0, 256, (count, size, size), np.uint8)
        arrays[labels] = generator.permutation(np.arange(count) % 10)
    return arrays


def _write_idx_files(folder, arrays, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = _idx_bytes(array)
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    return folder


def _write_cifar10_archive(folder, seed=0):
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


def _pairs(images, labels):
    """Images with their labels, in an order that does not depend on the file's."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def _assert_same(dataset, arrays):
    assert dataset.train_images.shape == (120, 28, 28, 1)
    assert dataset.train_images.dtype == np.uint8 and dataset.train_labels.dtype == np.int32
    for split in ("train", "test"):
        images, labels = idx.FILES[split]
        found = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        assert _pairs(*found) == _pairs(arrays[images], arrays[labels])


def _listing(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def _assert_one_sentence(error, *parts):
    message = str(error.value)
    assert message.endswith(".") and ". " not in message and "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.fixture
def builders(monkeypatch, tmp_path):
    """The TFDS part with its folders in tmp_path and no proxy in the way."""
    monkeypatch.setenv("GAJAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "stock"))
    monkeypatch.setenv("NO_PROXY", "*")
    # TFDS leaves an empty temporary folder behind each time it prepares a set.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from experiments import tfds_builders

    return tfds_builders


@pytest.fixture
def register(monkeypatch, builders):
    """Registers the files of a folder, at a base URL, in place of the official ones."""

    def register_folder(folder, base_url="http://127.0.0.1:9"):
        files = {
            path.name: (f"{base_url}/{path.name}", builders.compute_url_info(path))
            for path in sorted(folder.iterdir())
        }
        monkeypatch.setattr(builders, "_registered_files", lambda name: files)

    return register_folder


@pytest.fixture
def server():
    """A local HTTP server: its URL and its answers, {path: (bytes sent, length announced)}."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content, length = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, code="-", size="-"):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", answers
        running.shutdown()


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
    arrays = _arrays()
    arrays[TRAIN_LABELS] = np.arange(6000) % 10
    arrays[TRAIN_IMAGES] = np.zeros((6000, 28, 28), np.uint8)
    arrays[TRAIN_IMAGES][:, 0, :2] = np.stack(np.divmod(np.arange(6000), 256), axis=1)
    arrays[TEST_LABELS], arrays[TEST_IMAGES] = arrays[TRAIN_LABELS], arrays[TRAIN_IMAGES]
    folder = _write_idx_files(tmp_path / "idx", arrays, compress=False)
    for name in ("one.npz", "two.npz"):
        datasets._embed(folder, tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as made:
        pixels, labels = made["test_images"][:, 0, :2, 0].astype(int), made["test_labels"]
    indices = pixels[:, 0] * 256 + pixels[:, 1]
    assert np.array_equal(labels, indices % 10)
    assert sorted(indices[labels == 3]) == [3 + 60 * step for step in range(100)]


@pytest.mark.parametrize("name", ["mnist5k", "cifar10"])
def test_data_dir_does_not_apply(name, tmp_path):
    with pytest.raises(InputError) as error:
        datasets.load(name, tmp_path)
    _assert_one_sentence(error, f"--data-dir {tmp_path}", f"--dataset {name}")


def test_unknown_name():
    with pytest.raises(InputError) as error:
        datasets.load("imagenet")
    _assert_one_sentence(error, "--dataset imagenet", "mnist5k", "cifar10")


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("subfolder", ["", "fashion_mnist"])
def test_idx_files(tmp_path, compress, subfolder):
    arrays = _arrays()
    folder = _write_idx_files(tmp_path / subfolder, arrays, compress)
    dataset = datasets.load("fashion_mnist", tmp_path)
    assert dataset.name == "fashion_mnist" and dataset.source == f"IDX files in {folder}"
    _assert_same(dataset, arrays)
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
    "not gzip": (f"{TEST_LABELS}.gz", gzip.decompress, "cannot be read"),
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
        lambda content: _idx_bytes(np.zeros((20, 28, 28))),
        "not an IDX file",
    ),
    "wrong size of images": (
        TEST_IMAGES,
        lambda content: _idx_bytes(np.zeros((20, 14, 14))),
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
        lambda content: _idx_bytes(np.full(20, 10)),
        "the label 10",
    ),
    "fewer labels": (TEST_LABELS, lambda content: _idx_bytes(np.zeros(19)), "19 labels"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_idx_file_is_told_in_one_sentence(tmp_path, damage):
    name, change, part = DAMAGES[damage]
    _write_idx_files(tmp_path, _arrays())
    original = tmp_path / f"{name.removesuffix('.gz')}.gz"
    content = original.read_bytes()
    original.unlink()
    (tmp_path / name).write_bytes(change(content))
    with pytest.raises(InputError) as error:
        datasets.load("mnist", tmp_path)
    _assert_one_sentence(error, f"--data-dir {tmp_path}", name, part)


def test_missing_idx_file(tmp_path):
    _write_idx_files(tmp_path, _arrays())
    (tmp_path / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(InputError) as error:
        datasets.load("mnist", tmp_path)
    _assert_one_sentence(error, f"--data-dir {tmp_path}", TEST_LABELS, "missing")


def test_gzip_bomb_is_not_unpacked(tmp_path):
    _write_idx_files(tmp_path, _arrays())
    bomb = _idx_bytes(np.zeros((10, 28, 28))) + bytes(100_000_000)
    (tmp_path / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(bomb, 1))
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            datasets.load("mnist", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    _assert_one_sentence(error, f"{TRAIN_IMAGES}.gz", "bytes after the 10 items")


def test_importing_datasets_does_not_import_tfds():
    code = (
        "import sys, experiments.datasets; "
        "assert not {'tensorflow_datasets', 'requests', 'PIL'} & set(sys.modules)"
    )
    root = Path(datasets.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_mnist_through_tfds(builders, register, tmp_path, capfd):
    arrays = _arrays()
    folder = _write_idx_files(tmp_path / "published", arrays)
    register(folder)
    builders.read("mnist", manual_dir=folder)
    output = capfd.readouterr()
    assert output.out == "" and output.err == "preparing mnist ...\n"
    for path in folder.iterdir():
        path.unlink()

    dataset = datasets.load("mnist")
    place = tmp_path / "cache" / "tensorflow_datasets" / "mnist" / "3.0.1"
    assert dataset.name == "mnist" and dataset.source == f"TFDS mnist:3.0.1 in {place}"
    _assert_same(dataset, arrays)
    assert [path.name for path in place.parents[1].iterdir()] == ["mnist"]
    assert not (tmp_path / "stock").exists()
    assert capfd.readouterr() == ("", "")
    assert "tensorflow" not in sys.modules


def test_cifar10_through_tfds(builders, register, tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    splits = _write_cifar10_archive(folder)
    register(folder)
    builders.read("cifar10", manual_dir=folder)

    dataset = datasets.load("cifar10")
    assert dataset.train_images.shape == (35, 32, 32, 3)
    assert dataset.test_images.shape == (7, 32, 32, 3)
    for split, records in splits.items():
        # Each record is the label, then the red, the green and the blue plane, row by row.
        planes = [records[:, 1 + 1024 * c : 1025 + 1024 * c].reshape(-1, 32, 32) for c in range(3)]
        expected = _pairs(np.stack(planes, axis=-1), records[:, 0])
        found = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        assert _pairs(*found) == expected
    assert "tensorflow" not in sys.modules


def test_stock_set_is_read_where_it_is(builders, register, tmp_path, monkeypatch):
    arrays = _arrays()
    folder = _write_idx_files(tmp_path / "published", arrays)
    register(folder)
    builders.read("mnist", manual_dir=folder)
    stock = tmp_path / "cache" / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", str(stock))
    monkeypatch.setenv("GAJAX_CACHE_DIR", str(tmp_path / "unused"))
    before = _listing(stock)
    dataset = datasets.load("mnist")
    _assert_same(dataset, arrays)
    assert dataset.source.endswith(str(stock / "mnist" / "3.0.1"))
    assert _listing(stock) == before and not (tmp_path / "unused").exists()


def test_stock_set_in_another_format_is_left_alone(builders, register, tmp_path):
    arrays = _arrays()
    folder = _write_idx_files(tmp_path / "published", arrays)
    register(folder)
    stock = tmp_path / "stock"
    version = stock / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    info = '{"name": "mnist", "version": "3.0.1", "fileFormat": "tfrecord"}'
    (version / "dataset_info.json").write_text(info)
    (version / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"records")
    before = _listing(stock)
    source, _ = builders.read("mnist", manual_dir=folder)
    assert str(tmp_path / "cache") in source and _listing(stock) == before


def test_interrupted_preparation_leaves_nothing(builders, register, tmp_path, monkeypatch):
    arrays = _arrays()
    folder = _write_idx_files(tmp_path / "published", arrays)
    register(folder)

    def fail(self, images, labels):
        yield from list(generate(self, images, labels))[:30]
        raise OSError(28, "No space left on device")

    generate = builders._Builder._generate_examples
    with monkeypatch.context() as broken, pytest.raises(InputError) as error:
        broken.setattr(builders._Builder, "_generate_examples", fail)
        builders.read("mnist", manual_dir=folder)
    _assert_one_sentence(error, "--dataset mnist", "No space left on device", "GAJAX_CACHE_DIR")
    cache = tmp_path / "cache" / "tensorflow_datasets"
    assert not list(cache.iterdir())

    # What a set spoilt by other means looks like: a folder, but not a complete one.
    (cache / "mnist" / "3.0.1").mkdir(parents=True)
    (cache / "mnist" / "3.0.1" / "features.json").write_text("{")
    builders.read("mnist", manual_dir=folder)
    _assert_same(datasets.load("mnist"), arrays)


def test_spoilt_records_are_told_in_one_sentence(builders, register, tmp_path):
    folder = _write_idx_files(tmp_path / "published", _arrays())
    register(folder)
    builders.read("mnist", manual_dir=folder)
    place = tmp_path / "cache" / "tensorflow_datasets" / "mnist" / "3.0.1"
    (place / "mnist-train.array_record-00000-of-00001").write_bytes(b"spoilt")
    with pytest.raises(InputError) as error:
        datasets.load("mnist")
    _assert_one_sentence(error, "--dataset mnist", place)


def test_wrong_checksum_of_a_given_file(builders, register, tmp_path):
    folder = _write_idx_files(tmp_path / "published", _arrays())
    register(folder)
    other = dict.fromkeys([TRAIN_IMAGES], _arrays(seed=1)[TRAIN_IMAGES])
    _write_idx_files(folder, other)
    with pytest.raises(InputError) as error:
        builders.read("mnist", manual_dir=folder)
    _assert_one_sentence(error, "--dataset mnist", f"{TRAIN_IMAGES}.gz", "SHA-256")
    assert not list((tmp_path / "cache" / "tensorflow_datasets").iterdir())
    (folder / f"{TRAIN_IMAGES}.gz").unlink()
    with pytest.raises(InputError) as error:
        builders.read("mnist", manual_dir=folder)
    _assert_one_sentence(error, "--dataset mnist", f"{TRAIN_IMAGES}.gz", "missing")


def test_fetching(builders, register, server, tmp_path):
    """Truncated, wrong and endless downloads are refused, and a sound one then succeeds."""
    arrays = _arrays()
    folder = _write_idx_files(tmp_path / "published", arrays)
    url, answers = server
    register(folder, url)
    sound = {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}
    path = f"/{TRAIN_IMAGES}.gz"
    length = len(sound[path])
    faults = {
        "cannot be fetched": (sound[path][:1000], length),
        "SHA-256": (bytes(length), length),
        "size": (bytes(10 * length), 10**12),
    }
    for part, answer in faults.items():
        answers.update({name: (content, len(content)) for name, content in sound.items()})
        answers[path] = answer
        with pytest.raises(InputError) as error:
            datasets.load("mnist")
        _assert_one_sentence(error, "--dataset mnist", f"{TRAIN_IMAGES}.gz", part)
        assert not list((tmp_path / "cache" / "tensorflow_datasets").iterdir())
    answers[path] = (sound[path], length)
    _assert_same(datasets.load("mnist"), arrays)


def test_no_network_is_told_at_once(builders, register, tmp_path):
    folder = _write_idx_files(tmp_path / "published", _arrays())
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        register(folder, f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(InputError) as error:
            datasets.load("mnist")
    _assert_one_sentence(error, "--dataset mnist", "127.0.0.1", "network", "mnist5k")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nfirst"])
def test_silent_network_is_given_up(builders, register, tmp_path, monkeypatch, answer):
    # One time-out to open, one for a stalled read, and a second or two to import TFDS.
    assert 2 * builders._TIMEOUT_SECONDS <= 12
    monkeypatch.setattr(builders, "_TIMEOUT_SECONDS", 0.3)
    folder = _write_idx_files(tmp_path / "published", _arrays())
    end = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def serve():
            connection, _ = silent.accept()
            with connection:
                connection.sendall(answer)
                end.wait(20)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        register(folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(InputError) as error:
            datasets.load("mnist")
        assert time.monotonic() - start < 10
        end.set()
        thread.join()
    _assert_one_sentence(error, "--dataset mnist", "network")


def test_name_lookup_that_hangs_is_given_up(builders, register, tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_TIMEOUT_SECONDS", 0.3)
    register(_write_idx_files(tmp_path / "published", _arrays()), "http://unknown.invalid")
    end = threading.Event()

    def hang(*arguments, **options):
        end.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(InputError) as error:
        datasets.load("mnist")
    end.set()
    _assert_one_sentence(error, "--dataset mnist", "unknown.invalid", "network")


def test_missing_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "experiments.tfds_builders", raising=False)
    monkeypatch.delattr("experiments.tfds_builders", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError) as error:
        datasets.load("mnist")
    _assert_one_sentence(error, "--dataset mnist", "tensorflow_datasets")


def test_names_versions_and_files_are_those_of_tfds(builders):
    for name, part in builders._SETS.items():
        assert str(builders.tfds.builder_cls(name).VERSION) == part.version
    official = {f"{file}.gz" for files in idx.FILES.values() for file in files}
    assert set(builders._registered_files("mnist")) == official
    assert set(builders._registered_files("fashion_mnist")) == official
    assert set(builders._registered_files("cifar10")) == {"cifar-10-binary.tar.gz"}


@pytest.mark.skipif("GAJAX_TEST_DATA" not in os.environ, reason="GAJAX_TEST_DATA is not set")
def test_official_mnist_and_the_set_embedded_from_it(tmp_path):
    folder = Path(os.environ["GAJAX_TEST_DATA"])
    dataset = datasets.load("mnist", folder)
    assert dataset.train_images.shape == (60000, 28, 28, 1)
    assert dataset.test_images.shape == (10000, 28, 28, 1)
    assert dataset.train_images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    datasets._embed(folder / "mnist", tmp_path / "made.npz")
    with np.load(tmp_path / "made.npz", allow_pickle=False) as made:
        for field, array in datasets.load("mnist5k")._asdict().items():
            if field not in ("name", "source"):
                assert np.array_equal(made[field], array)
