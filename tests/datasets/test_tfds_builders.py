"""Data sets through TFDS: prepared from files or a local server, and read back."""

import http.server
import socket
import sys
import tempfile
import threading
import time

import numpy as np
import pytest
from dataset_files import (
    TRAIN_IMAGES,
    assert_one_sentence,
    assert_same,
    listing,
    make_arrays,
    pairs,
    write_cifar10_archive,
    write_idx_files,
)

from experiments.datasets import catalog as datasets
from experiments.datasets import idx
from experiments.running.cli import InputError


@pytest.fixture
def builders(monkeypatch, tmp_path):
    """The TFDS part with its folders in tmp_path and no proxy in the way."""
    monkeypatch.setenv("GAJAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "stock"))
    monkeypatch.setenv("NO_PROXY", "*")
    # TFDS leaves an empty temporary folder behind each time it prepares a set.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from experiments.datasets import tfds_builders

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


def test_mnist_through_tfds(builders, register, tmp_path, capfd):
    arrays = make_arrays()
    folder = write_idx_files(tmp_path / "published", arrays)
    register(folder)
    builders.read("mnist", manual_dir=folder)
    output = capfd.readouterr()
    assert output.out == "" and output.err == "preparing mnist ...\n"
    for path in folder.iterdir():
        path.unlink()

    dataset = datasets.load("mnist")
    place = tmp_path / "cache" / "tensorflow_datasets" / "mnist" / "3.0.1"
    assert dataset.name == "mnist" and dataset.source == f"TFDS mnist:3.0.1 in {place}"
    assert_same(dataset, arrays)
    assert [path.name for path in place.parents[1].iterdir()] == ["mnist"]
    assert not (tmp_path / "stock").exists()
    assert capfd.readouterr() == ("", "")
    assert "tensorflow" not in sys.modules


def test_cifar10_through_tfds(builders, register, tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    splits = write_cifar10_archive(folder)
    register(folder)
    builders.read("cifar10", manual_dir=folder)

    dataset = datasets.load("cifar10")
    assert dataset.train_images.shape == (35, 32, 32, 3)
    assert dataset.test_images.shape == (7, 32, 32, 3)
    for split, records in splits.items():
        # Each record is the label, then the red, the green and the blue plane, row by row.
        planes = [records[:, 1 + 1024 * c : 1025 + 1024 * c].reshape(-1, 32, 32) for c in range(3)]
        expected = pairs(np.stack(planes, axis=-1), records[:, 0])
        found = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        assert pairs(*found) == expected
    assert "tensorflow" not in sys.modules


def test_stock_set_is_read_where_it_is(builders, register, tmp_path, monkeypatch):
    arrays = make_arrays()
    folder = write_idx_files(tmp_path / "published", arrays)
    register(folder)
    builders.read("mnist", manual_dir=folder)
    stock = tmp_path / "cache" / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", str(stock))
    monkeypatch.setenv("GAJAX_CACHE_DIR", str(tmp_path / "unused"))
    before = listing(stock)
    dataset = datasets.load("mnist")
    assert_same(dataset, arrays)
    assert dataset.source.endswith(str(stock / "mnist" / "3.0.1"))
    assert listing(stock) == before and not (tmp_path / "unused").exists()


def test_stock_set_in_another_format_is_left_alone(builders, register, tmp_path):
    arrays = make_arrays()
    folder = write_idx_files(tmp_path / "published", arrays)
    register(folder)
    stock = tmp_path / "stock"
    version = stock / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    info = '{"name": "mnist", "version": "3.0.1", "fileFormat": "tfrecord"}'
    (version / "dataset_info.json").write_text(info)
    (version / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"records")
    before = listing(stock)
    source, _ = builders.read("mnist", manual_dir=folder)
    assert str(tmp_path / "cache") in source and listing(stock) == before


def test_interrupted_preparation_leaves_nothing(builders, register, tmp_path, monkeypatch):
    arrays = make_arrays()
    folder = write_idx_files(tmp_path / "published", arrays)
    register(folder)

    def fail(self, images, labels):
        yield from list(generate(self, images, labels))[:30]
        raise OSError(28, "No space left on device")

    generate = builders._Builder._generate_examples
    with monkeypatch.context() as broken, pytest.raises(InputError) as error:
        broken.setattr(builders._Builder, "_generate_examples", fail)
        builders.read("mnist", manual_dir=folder)
    assert_one_sentence(error, "--dataset mnist", "No space left on device", "GAJAX_CACHE_DIR")
    cache = tmp_path / "cache" / "tensorflow_datasets"
    assert not list(cache.iterdir())

    # What a set spoilt by other means looks like: a folder, but not a complete one.
    (cache / "mnist" / "3.0.1").mkdir(parents=True)
    (cache / "mnist" / "3.0.1" / "features.json").write_text("{")
    builders.read("mnist", manual_dir=folder)
    assert_same(datasets.load("mnist"), arrays)


def test_spoilt_records_are_told_in_one_sentence(builders, register, tmp_path):
    folder = write_idx_files(tmp_path / "published", make_arrays())
    register(folder)
    builders.read("mnist", manual_dir=folder)
    place = tmp_path / "cache" / "tensorflow_datasets" / "mnist" / "3.0.1"
    (place / "mnist-train.array_record-00000-of-00001").write_bytes(b"spoilt")
    with pytest.raises(InputError) as error:
        datasets.load("mnist")
    assert_one_sentence(error, "--dataset mnist", place)


def test_wrong_checksum_of_a_given_file(builders, register, tmp_path):
    folder = write_idx_files(tmp_path / "published", make_arrays())
    register(folder)
    other = dict.fromkeys([TRAIN_IMAGES], make_arrays(seed=1)[TRAIN_IMAGES])
    write_idx_files(folder, other)
    with pytest.raises(InputError) as error:
        builders.read("mnist", manual_dir=folder)
    assert_one_sentence(error, "--dataset mnist", f"{TRAIN_IMAGES}.gz", "SHA-256")
    assert not list((tmp_path / "cache" / "tensorflow_datasets").iterdir())
    (folder / f"{TRAIN_IMAGES}.gz").unlink()
    with pytest.raises(InputError) as error:
        builders.read("mnist", manual_dir=folder)
    assert_one_sentence(error, "--dataset mnist", f"{TRAIN_IMAGES}.gz", "missing")


def test_fetching(builders, register, server, tmp_path):
    """Truncated, wrong and endless downloads are refused, and a sound one then succeeds."""
    arrays = make_arrays()
    folder = write_idx_files(tmp_path / "published", arrays)
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
        assert_one_sentence(error, "--dataset mnist", f"{TRAIN_IMAGES}.gz", part)
        assert not list((tmp_path / "cache" / "tensorflow_datasets").iterdir())
    answers[path] = (sound[path], length)
    assert_same(datasets.load("mnist"), arrays)


def test_no_network_is_told_at_once(builders, register, tmp_path):
    folder = write_idx_files(tmp_path / "published", make_arrays())
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        register(folder, f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(InputError) as error:
            datasets.load("mnist")
    assert_one_sentence(error, "--dataset mnist", "127.0.0.1", "network", "mnist5k")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nfirst"])
def test_silent_network_is_given_up(builders, register, tmp_path, monkeypatch, answer):
    # One time-out to open, one for a stalled read, and a second or two to import TFDS.
    assert 2 * builders._TIMEOUT_SECONDS <= 12
    monkeypatch.setattr(builders, "_TIMEOUT_SECONDS", 0.3)
    folder = write_idx_files(tmp_path / "published", make_arrays())
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
    assert_one_sentence(error, "--dataset mnist", "network")


def test_name_lookup_that_hangs_is_given_up(builders, register, tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "_TIMEOUT_SECONDS", 0.3)
    register(write_idx_files(tmp_path / "published", make_arrays()), "http://unknown.invalid")
    end = threading.Event()

    def hang(*arguments, **options):
        end.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(InputError) as error:
        datasets.load("mnist")
    end.set()
    assert_one_sentence(error, "--dataset mnist", "unknown.invalid", "network")


def test_missing_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "experiments.datasets.tfds_builders", raising=False)
    monkeypatch.delattr("experiments.datasets.tfds_builders", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError) as error:
        datasets.load("mnist")
    assert_one_sentence(error, "--dataset mnist", "tensorflow_datasets")


def test_names_versions_and_files_are_those_of_tfds(builders):
    for name, part in builders._SETS.items():
        assert str(builders.tfds.builder_cls(name).VERSION) == part.version
    official = {f"{file}.gz" for files in idx.FILES.values() for file in files}
    assert set(builders._registered_files("mnist")) == official
    assert set(builders._registered_files("fashion_mnist")) == official
    assert set(builders._registered_files("cifar10")) == {"cifar-10-binary.tar.gz"}
