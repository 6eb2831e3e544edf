"""Figures: what is drawn, and that a user's settings and display do not matter."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import gajax
from gajax.plotting import BLUE, GREY, RED


@pytest.fixture(autouse=True)
def settings_stay_as_they_are():
    """No warning either."""
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert dict(matplotlib.rcParams) == before


def history(loss):
    loss = np.asarray(loss, np.float32)
    return {"generation": np.arange(len(loss)), "loss": loss}


def front(**columns):
    *names, loss = columns
    arrays = {name: jnp.asarray(values, float) for name, values in columns.items()}
    state = SimpleNamespace(params=arrays["loss"], loss=arrays[loss], metrics={})
    return gajax.front(state, {name: arrays[name] for name in names})


def line(panel, color):
    """Points of the line of a colour."""
    return next(line.get_xydata() for line in panel.lines if line.get_color() == color)


def labels(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


LOSS = [[4, 3, 2, 1, 5], [3, 2, np.inf, 1, 0.5], [0.5, 0.25, np.nan, 0.75, 1]]


def test_a_history_has_its_best_and_median_losses_and_a_band():
    panel = gajax.plot(history(LOSS)).axes[0]
    np.testing.assert_allclose(line(panel, BLUE), [[0, 1], [1, 0.5], [2, 0.25]])
    np.testing.assert_allclose(line(panel, GREY), [[0, 3], [1, 1.5], [2, 0.625]])
    (band,) = panel.collections
    edges = band.get_paths()[0].vertices
    for generation, (low, high) in enumerate([(2, 4), (0.875, 2.25), (0.4375, 0.8125)]):
        heights = edges[edges[:, 0] == generation, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))
    assert labels(panel) == ["best, last 0.25", "median, last 0.625", "middle half of all"]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("generation", "loss")


def test_generations_without_a_finite_loss_are_left_out():
    panel = gajax.plot(history([[np.nan, np.inf], [3, 1], [np.nan, np.nan]])).axes[0]
    np.testing.assert_allclose(line(panel, BLUE), [[1, 1]])
    assert panel.lines[0].get_marker() == "o"  # a line of one point would not be seen


def test_one_individual_has_no_median():
    panel = gajax.plot(history([[3], [2]])).axes[0]
    assert labels(panel) == ["best, last 2"] and not panel.collections


@pytest.mark.parametrize(
    "largest, smallest, scale",
    [(11, 1, "log"), (9, 1, "linear"), (1e9, 1e-3, "log"), (11, 0, "linear"), (11, -1, "linear")],
)
def test_values_over_decades_are_on_logarithmic_axes(largest, smallest, scale):
    panel = gajax.plot(history([[largest], [smallest]])).axes[0]
    assert (panel.get_xscale(), panel.get_yscale()) == ("linear", scale)
    panel = gajax.plot(front(density=[smallest, largest], loss=[2, 1])).axes[0]
    assert (panel.get_xscale(), panel.get_yscale()) == (scale, "linear")
    panel = gajax.plot(front(density=[0.1, 0.2], loss=[largest, smallest])).axes[0]
    assert (panel.get_xscale(), panel.get_yscale()) == ("linear", scale)


def test_a_front_has_its_points_a_staircase_and_the_knee():
    shown = front(density=[1, 2, 8, 10], loss=[9, 2, 1, 0])
    panel = gajax.plot(shown).axes[0]
    points = np.array([[1, 9], [2, 2], [8, 1], [10, 0]])
    stairs, dots, ring = panel.lines
    np.testing.assert_array_equal(stairs.get_xydata(), points)
    assert stairs.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(dots.get_xydata(), points)
    np.testing.assert_array_equal(ring.get_xydata(), points[[shown.knee()]])
    assert ring.get_markeredgecolor() == RED
    (text,) = panel.texts
    assert text.get_text() == "knee" and text.xy == (2, 2)
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("density", "loss")


def test_a_front_of_three_objectives_has_no_staircase():
    panel = gajax.plot(front(size=[1, 2, 3], time=[3, 2, 1], loss=[1, 3, 2])).axes[0]
    dots, _ = panel.lines
    np.testing.assert_array_equal(dots.get_xydata(), [[1, 1], [2, 3], [3, 2]])
    assert panel.get_xlabel() == "size"


@pytest.mark.parametrize("name, format", [("a.png", "PNG"), ("a.jpg", "JPEG")])
def test_files(name, format, tmp_path):
    figure = gajax.plot(history(LOSS), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.format == format and image.size == (960, 540)
        assert np.asarray(image.convert("L")).std() > 10
    assert figure.axes[0].get_facecolor()[:3] == (1, 1, 1)


def test_axes_of_the_caller_keep_their_style(tmp_path):
    with matplotlib.rc_context({"axes.facecolor": "black", "axes.grid": False}):
        figure = Figure()
        panels = figure.subplots(1, 2)
        assert gajax.plot(history(LOSS), ax=panels[0]) is figure
        gajax.plot(front(density=[1, 2], loss=[2, 1]), tmp_path / "both.png", ax=panels[1])
        assert gajax.plot(history(LOSS)).axes[0].get_facecolor()[:3] == (1, 1, 1)
    assert panels[0].get_legend().get_frame_on()
    assert [panel.get_facecolor()[:3] for panel in panels] == [(0, 0, 0)] * 2
    assert len(panels[0].lines) == 2 and len(panels[1].lines) == 3
    assert (tmp_path / "both.png").exists()


@pytest.mark.parametrize(
    "shown, words",
    [
        (history(np.ones((2, 3, 4))), r"must be of one seed, not of the form \(2, 3, 4\)$"),
        (history(np.full((2, 3), np.nan)), "^there must be a finite loss to draw, not none$"),
        (history(np.ones((0, 3))), "^there must be a finite loss to draw, not none$"),
        (front(density=[1.0], loss=[np.nan]), "^there must be a finite loss to draw, not none$"),
    ],
)
def test_what_cannot_be_drawn(shown, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        gajax.plot(shown, tmp_path / "a.png")
    assert not [*tmp_path.iterdir()]


def test_a_missing_package_is_named(hide_package):
    hide_package("matplotlib")
    with pytest.raises(ImportError, match=r"^gajax.plot needs `pip install matplotlib`$"):
        gajax.plot(history(LOSS))


def test_no_display_is_needed_and_pyplot_is_not_imported(tmp_path):
    program = """
import sys
import numpy as np
import gajax
assert "matplotlib" not in sys.modules
gajax.plot({"generation": np.arange(2), "loss": np.ones((2, 3))}, "a.png")
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {"MPLBACKEND": "TkAgg", "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "a.png").exists()
