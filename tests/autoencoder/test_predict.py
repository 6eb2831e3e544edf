"""Reading pictures with a finished run."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import mnist_ga
from experiments.autoencoder import layerwise, methods, report
from experiments.autoencoder.predict import predict
from experiments.datasets.catalog import load
from experiments.running.cli import InputError


@pytest.fixture(scope="module")
def digit_images():
    """Ten test images, one of each digit, [10, 28, 28]."""
    dataset = load("mnist5k")
    _, firsts = np.unique(dataset.test_labels, return_index=True)
    return dataset.test_images[firsts, :, :, 0]


@pytest.fixture
def paths(digit_images, tmp_path):
    """The same images as PNG files."""
    files = [tmp_path / f"{digit}.png" for digit in range(10)]
    for image, path in zip(digit_images, files, strict=True):
        Image.fromarray(image).save(path)
    return files


def test_predictions_are_those_of_the_svm_on_scaled_pixels(
    small_run, small_config, digit_images, paths, tmp_path
):
    found = predict(small_run, paths, tmp_path / "out")
    trained, svm = report.load(small_run, methods.autoencoder(small_config))
    pixels = jnp.asarray(digit_images.reshape(10, -1) / np.float32(255))
    features = np.asarray(layerwise.encode(*trained, pixels))
    assert [row["digit"] for row in found] == svm.predict(features).tolist()
    assert sum(row["digit"] == digit for digit, row in enumerate(found)) >= 8
    ordered = np.sort(svm.decision_function(features))
    margins = [row["margin"] for row in found]
    np.testing.assert_allclose(margins, ordered[:, -1] - ordered[:, -2], rtol=1e-4)


def test_dark_on_light_reads_the_same(small_run, digit_images, paths, tmp_path):
    straight = predict(small_run, paths, tmp_path / "out")
    inverted = []
    for digit, image in enumerate(digit_images):
        inverted.append(tmp_path / f"inverted-{digit}.png")
        Image.fromarray(255 - np.pad(image, 4)).save(inverted[-1])
    found = predict(small_run, inverted, tmp_path / "out")
    same = [row["digit"] == other["digit"] for row, other in zip(found, straight, strict=True)]
    assert sum(same) >= 9


def test_pictures_are_written_and_none_over_another(small_run, paths, tmp_path):
    first = predict(small_run, [paths[3], paths[3]], tmp_path / "out")
    second = predict(small_run, [paths[3]], tmp_path / "out")
    pictures = [row["reconstruction"] for row in first + second]
    assert len(set(pictures)) == 3
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.format == "PNG" and image.width > 100


def test_json_lists_what_the_table_shows(small_run, paths, tmp_path, capsys):
    images = [str(path) for path in paths[:2]]
    out = ["--out", str(tmp_path / "out")]
    mnist_ga.main(["predict", "--run", str(small_run), *images, *out, "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == images
    assert all(set(row) == {"path", "digit", "margin", "reconstruction", "warning"} for row in rows)
    mnist_ga.main(["predict", "--run", str(small_run), *images, *out])
    table = capsys.readouterr().out
    assert all(f"{row['margin']:.2f}" in table for row in rows)


def test_a_doubtful_picture_is_said_to_be_one(small_run, digit_images, paths, tmp_path, capsys):
    two = tmp_path / "two.png"
    Image.fromarray(255 - np.pad(np.hstack(digit_images[3:5]), 8)).save(two)
    sure, doubtful = predict(small_run, [paths[3], two], tmp_path / "out")
    assert sure["warning"] is None
    assert doubtful["warning"] == f"{two} is doubtful: there seems to be more than one digit"
    images = ["predict", "--run", str(small_run), str(paths[3]), str(two)]
    mnist_ga.main([*images, "--out", str(tmp_path / "out")])
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("is doubtful:") == 1 and printed.endswith("more than one digit")


def test_one_unreadable_image_stops_all_and_nothing_is_written(small_run, paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:80])
    with pytest.raises(InputError, match=r"broken\.png"):
        predict(small_run, [paths[0], broken], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_run_is_refused(small_run, paths, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("summary.json", "config.json", "model.safetensors", "svm.skops"):
        (run / name).write_bytes((small_run / name).read_bytes())
    for name in ("model.safetensors", "svm.skops"):
        whole = (run / name).read_bytes()
        (run / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="--run"):
            predict(run, paths[:1], tmp_path / "out")
        (run / name).write_bytes(whole)


def test_svm_file_that_would_run_code_is_refused(small_run, paths, tmp_path):
    import os

    from quick_skops import skops

    run = tmp_path / "run"
    run.mkdir()
    for name in ("summary.json", "config.json", "model.safetensors"):
        (run / name).write_bytes((small_run / name).read_bytes())
    skops.io.dump({"call": os.system}, run / "svm.skops")
    with pytest.raises(InputError, match="--run"):
        predict(run, paths[:1], tmp_path / "out")
