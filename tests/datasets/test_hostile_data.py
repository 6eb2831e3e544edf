"""Pictures and data sets from others: refused before they take memory or time."""

import contextlib
import gzip
import io
import json
import os
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from dataset_files import TRAIN_IMAGES, TRAIN_LABELS, idx_bytes, make_arrays, write_idx_files
from PIL import Image, PngImagePlugin
from refusals import listing, refused, sparse_file

from experiments.datasets import catalog as datasets
from experiments.datasets import idx
from experiments.datasets import pictures as digits
from experiments.running.cli import InputError

MEGABYTES = 10**6


def picture(format="PNG", **options):
    stream = io.BytesIO()
    random = np.random.default_rng(0).integers(0, 255, (60, 50), np.uint8)
    Image.fromarray(random).save(stream, format, **options)
    return stream.getvalue()


def chunk(name, content):
    """A chunk of a PNG file."""
    code = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", code)


def png(width, height, data, *chunks):
    """A grey PNG file that claims that size, its pixels compressed already."""
    start = b"\x89PNG\r\n\x1a\n"
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return start + size + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def scans(count):
    """A progressive JPEG whose last scan comes so many times more."""
    content = picture("JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * count + content[-2:]


BOMB = zlib.compress(bytes(10 * MEGABYTES), 9)
PICTURES = {
    "40 GB in a megabyte": png(200_000, 200_000, b"\0" * MEGABYTES),
    "pixels to no end": png(2**31 - 1, 2**31 - 1, BOMB),
    "no pixels": png(0, 0, BOMB),
    "more text than pixels": png(
        1, 1, zlib.compress(b"\0\0"), *[chunk(b"zTXt", b"a\0\0" + BOMB)] * 20
    ),
    "a profile that unpacks": png(2, 2, b"", chunk(b"iCCP", b"a\0\0" + BOMB * 20)),
    "a chunk of two gigabytes": picture()[:33] + struct.pack(">I", 2**31 - 1) + b"aaaa",
    "scans again and again": scans(1_000),
    "scripts": b"<svg onload='x'/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
    "a numpy file": b"\x93NUMPY" + bytes(100),
    "a pickle": b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR.",
}


def peak(function, *arguments):
    """The height of memory while that is refused, and its sentence."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            function(*arguments)
        return tracemalloc.get_traced_memory()[1], str(error.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(PICTURES[name])
    for function in (digits.read_image, lambda path: digits.fit_plain(path, (32, 32, 3))):
        height, sentence = peak(function, path)
        assert height < 120 * MEGABYTES and str(path) in sentence


def test_an_ordinary_progressive_picture_and_one_in_a_film_are_read(tmp_path):
    path = tmp_path / "photo.jpg"
    film = b"\xff\xda" * 10_000
    exif = Image.Exif()
    exif[0x010E] = "\xff\xda" * 200
    for content in (scans(0), scans(5), picture("JPEG", exif=exif) + film):
        path.write_bytes(content)
        assert digits.read_image(path).shape == (60, 50)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "folder", "link to itself", "long"])
def test_paths_that_are_no_pictures(kind, tmp_path):
    path = tmp_path / "picture.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        sparse_file(path, 3 * 10**8)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    else:
        path = tmp_path / ("x" * 5_000)
    height, sentence = peak(digits.read_image, path)
    assert height < MEGABYTES and str(path) in sentence


def members(count):
    """An IDX file in a gzip file of so many empty parts."""
    return gzip.compress(b"") * count + gzip.compress(idx_bytes(np.zeros(120)))


def named(length):
    """A gzip file whose name does not fit a page."""
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * length


IDX = {
    "a bomb": (f"{TRAIN_IMAGES}.gz", gzip.compress(bytes(100 * MEGABYTES), 1)),
    "a bomb behind a header": (
        f"{TRAIN_IMAGES}.gz",
        gzip.compress(struct.pack(">4I", 0x803, 10, 28, 28) + bytes(100 * MEGABYTES), 1),
    ),
    "all it may hold, of nothing": (
        f"{TRAIN_IMAGES}.gz",
        gzip.compress(struct.pack(">4I", 0x803, 100_000, 28, 28)),
    ),
    "more than it may hold": (TRAIN_LABELS, struct.pack(">2I", 0x801, 2**32 - 1)),
    "a long name": (f"{TRAIN_LABELS}.gz", named(100_000)),
    "empty parts": (f"{TRAIN_LABELS}.gz", members(1_000) + b"x"),
    "empty parts without end": (f"{TRAIN_LABELS}.gz", members(3_000_000)),
    "a header and empty parts without end": (
        f"{TRAIN_IMAGES}.gz",
        gzip.compress(struct.pack(">4I", 0x803, 100_000, 28, 28)) + members(3_000_000),
    ),
    "a pickle": (TRAIN_LABELS, PICTURES["a pickle"]),
}


@pytest.mark.parametrize("name", IDX)
def test_idx_files(name, tmp_path, monkeypatch, capsys):
    write_idx_files(tmp_path, make_arrays())
    path, content = tmp_path / IDX[name][0], IDX[name][1]
    path.with_suffix(".gz").unlink() if path.suffix == "" else path.unlink()
    path.write_bytes(content)
    arguments = ["gemonn", "--dataset", "mnist", "--data-dir", tmp_path]
    line = refused(arguments, tmp_path, monkeypatch, capsys, most=90 * MEGABYTES)
    assert "--data-dir" in line and path.name in line


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(idx_bytes(np.arange(9))),
        gzip.compress(idx_bytes(np.arange(9))) + bytes(512),
        gzip.compress(idx_bytes(np.arange(9))[:5]) + gzip.compress(idx_bytes(np.arange(9))[5:]),
        gzip.compress(b"") * 5_000 + gzip.compress(idx_bytes(np.arange(9))),
    ],
    ids=["one part", "zeros behind it", "two parts", "parts without content"],
)
def test_ordinary_gzip_files(content, tmp_path):
    path = tmp_path / f"{TRAIN_LABELS}.gz"
    path.write_bytes(content)
    np.testing.assert_array_equal(idx._read(path, ()), np.arange(9))


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0II*\0\x08\0\0\0\x01\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0" + b"II" * 9],
)
@pytest.mark.parametrize("error", [struct.error("unpack"), AttributeError("_info"), None])
def test_orientations_that_cannot_be_read(exif, error, tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(picture("JPEG", exif=exif))
    if error is None:
        with contextlib.suppress(InputError):
            digits.read_image(path)
        return

    def transpose(image):
        raise error

    monkeypatch.setattr(digits.ImageOps, "exif_transpose", transpose)
    with pytest.raises(InputError, match="cannot be read as a PNG or JPEG picture"):
        digits.read_image(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_idx_paths(kind, suffix, tmp_path, monkeypatch, capsys):
    write_idx_files(tmp_path, make_arrays())
    (tmp_path / f"{TRAIN_IMAGES}.gz").unlink()
    path = tmp_path / f"{TRAIN_IMAGES}{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        sparse_file(path, 3 * 10**8)
    arguments = ["mnist_ga", "--dataset", "fashion_mnist", "--data-dir", tmp_path]
    line = refused(arguments, tmp_path, monkeypatch, capsys, most=MEGABYTES)
    assert "--data-dir" in line and TRAIN_IMAGES in line
    assert ("larger than" if kind == "huge" else "missing") in line


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """The folder of a prepared data set from others, which TFDS would read."""
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"name": "mnist", "version": "3.0.1"}')
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GAJAX_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_a_prepared_set_imports_nothing(key, prepared, tmp_path, monkeypatch):
    (tmp_path / "stowaway.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    from experiments.datasets import tfds_builders

    feature = {key: "stowaway.Feature", "content": {}}
    (prepared / "features.json").write_text(json.dumps({"featuresDict": {"x": feature}}))
    assert not tfds_builders._is_readable(prepared)
    (prepared / "features.json").write_text(json.dumps(feature))
    assert not tfds_builders._is_readable(prepared)
    assert "stowaway" not in sys.modules


def test_text_of_a_picture_is_no_path_and_data_sets_write_nothing(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("../../name", "/etc/passwd")
    path = tmp_path / "picture.png"
    path.write_bytes(picture(pnginfo=info))
    write_idx_files(tmp_path / "idx", make_arrays())
    before = listing(tmp_path)
    digits.read_image(path)
    datasets.load("mnist", tmp_path / "idx")
    assert listing(tmp_path) == before
