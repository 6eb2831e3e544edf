"""The page of the digits that the SVM missed: what it holds, and its look in Chromium."""

import gzip
import json
import re
import shutil
from base64 import b64decode

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.autoencoder import layerwise, report, view
from experiments.autoencoder.methods import autoencoder
from experiments.datasets.catalog import load
from experiments.running.cli import InputError


@pytest.fixture(scope="module")
def made(small_run, tmp_path_factory):
    run = shutil.copytree(small_run, tmp_path_factory.mktemp("view") / "run")
    view.main(["--run", str(run)])
    return run / "view.html"


def test_the_page_holds_all_missed_digits(made, small_run, small_config):
    packed = re.search(r'id="data">([^<]*)<', made.read_text())[1]
    data = json.loads(gzip.decompress(b64decode(packed)))
    dataset = load("mnist5k")
    trained, svm = report.load(small_run, autoencoder(small_config))
    images = dataset.test_images.reshape(len(dataset.test_images), -1)
    predicted = svm.predict(np.asarray(layerwise.encode(*trained, jnp.asarray(images))))
    missed = np.flatnonzero(predicted != dataset.test_labels)
    places = [one["place"] for one in data["missed"]]
    assert 0 < len(places) < len(images) and sorted(places) == missed.tolist()
    for one in data["missed"]:
        place = one["place"]
        names = data["names"][one["label"]], data["names"][one["predicted"]]
        assert names == (str(dataset.test_labels[place]), str(predicted[place]))
    margins = [one["margin"] for one in data["missed"]]
    assert margins == sorted(margins, reverse=True)
    assert b64decode(data["originals"]) == images[places].tobytes()
    assert data["labels"][: len(places)] == [one["label"] for one in data["missed"]]


def test_clicks_and_keys_select_missed_digits(made, opened, accessibility):
    page = opened(made, viewport={"width": 390, "height": 900})
    count = page.locator("#all button").count()
    page.locator("#chart").press("ArrowRight")
    assert page.locator("#name").inner_text() == f"Missed image 2 of {count}"
    page.locator("#all button").last.click()
    assert page.locator("#name").inner_text() == f"Missed image {count} of {count}"
    dots = page.locator("#chart .trace").nth(-2).locator(".points path")
    dots.first.dispatch_event("mousemove")
    assert dots.count() == count
    assert accessibility(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="--run must be the directory of a finished run"):
        view.main(["--run", str(tmp_path)])
