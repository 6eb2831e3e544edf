"""Sets made of digits, photographs and chance have the statistics that they are named after."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.stats import chisquare, kstest

from experiments.autoencoder import predict
from experiments.datasets import catalog as datasets
from experiments.datasets import command
from experiments.datasets import generated as variations

COUNT = 2_000
SMALL = (COUNT // 2, COUNT // 2)


def numbered(count, first=0):
    """Images that hold nothing but their number, in two pixels, and labels from 0 to 9."""
    images = np.zeros((count, 28, 28), np.uint8)
    each = np.arange(first, first + count)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(each, 256)
    return images, (each % 10).astype(np.int32)


def numbers(images):
    return images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]


def blank(count):
    return np.zeros((count, 28, 28), np.uint8), np.zeros(count, np.int32)


def made(name, images, seed=0):
    """All images that are made of one, over and over."""
    digits = np.repeat(images[None], COUNT, axis=0), np.zeros(COUNT, np.int32)
    splits = variations.make(name, SMALL, digits, digits, seed)
    return np.concatenate([images for images, _ in splits])


def test_digits_to_learn_from_are_never_tested_with():
    splits = variations.make("mnist_basic", (300, 800), numbered(1_000), numbered(200, 1_000))
    learned, tested = (numbers(images) for images, _ in splits)
    assert len({*learned, *tested}) == 1_100 and learned.max() < 1_000
    for images, labels in splits:
        assert (numbers(images) % 10 == labels).all()


def test_every_angle_is_as_likely_as_any_other():
    dot = np.zeros((28, 28), np.uint8)
    dot[13:15, 22:24] = 255
    images = made("mnist_rotated", dot).astype(float)
    rows, columns = (np.arange(28) - 13.5 for _ in range(2))
    x, y = (images * columns).sum((1, 2)), -(images * rows[:, None]).sum((1, 2))
    angles = np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi)
    assert kstest(angles, "uniform").pvalue > 0.001
    np.testing.assert_allclose(np.hypot(x, y) / images.sum((1, 2)), 9, atol=0.1)


def test_quarter_turns_are_exact_and_no_turn_changes_nothing():
    images = variations.noise(np.random.RandomState(0), (5, 28, 28))
    for turns in range(4):
        found = variations.rotated(images, np.full(5, turns * np.pi / 2))
        np.testing.assert_array_equal(found, np.rot90(images, turns, axes=(1, 2)))


def test_all_pixels_of_a_random_background_are_as_likely_and_the_digit_stands_before_it():
    digit = np.zeros((28, 28), np.uint8)
    digit[10:20, 10:20] = 255
    images = made("mnist_background_random", digit)
    assert (images[:, digit > 0] == 255).all()
    assert chisquare(np.bincount(images[:, digit == 0].ravel(), minlength=256)).pvalue > 0.001


def test_half_bright_paint_is_half_as_thick():
    image, behind = np.full((1, 28, 28), 51, np.uint8), np.full((1, 28, 28), 100, np.uint8)
    assert (variations.on_background(image, behind) == 51 + 80).all()


@pytest.mark.parametrize("name", ["mnist_background_images", "mnist_background_images_rotated"])
def test_backgrounds_are_varied_pieces_of_the_photographs(name):
    from sklearn.datasets import load_sample_images

    windows = [
        np.lib.stride_tricks.sliding_window_view(
            np.rint(photograph @ [0.299, 0.587, 0.114]), (28, 28)
        )
        for photograph in load_sample_images().images
    ]
    images = made(name, np.zeros((28, 28), np.uint8))
    assert len(np.unique(images, axis=0)) > 0.98 * COUNT
    assert images.std((1, 2)).min() >= 16
    sources = []
    for image in images[:30]:
        found = [(window[..., 0, 0] == image[0, 0]).nonzero() for window in windows]
        pieces = [window[place] for window, place in zip(windows, found, strict=True)]
        sources.append([(piece == image).all((1, 2)).any() for piece in pieces])
    assert np.any(sources, axis=1).all() and np.any(sources, axis=0).all(), "of both photographs"


def bounds(masks):
    """First and last white row and column of each mask."""
    rows, columns = masks.any(2), masks.any(1)
    return [(lines.argmax(1), 27 - lines[:, ::-1].argmax(1)) for lines in (rows, columns)]


def test_rectangles_are_outlines_whose_sides_differ():
    images, labels = variations.rectangles(np.random.RandomState(0), COUNT)
    assert set(np.unique(images)) == {0, 255}
    masks = images > 0
    (top, bottom), (left, right) = bounds(masks)
    height, width = bottom - top + 1, right - left + 1
    np.testing.assert_array_equal(labels, width > height)
    assert np.abs(width - height).min() == 3 and min(height.min(), width.min()) == 3
    assert max(height.max(), width.max()) == 28
    np.testing.assert_array_equal(masks.sum((1, 2)), 2 * (height + width) - 4)
    for start, end in ((top, bottom), (left, right)):
        assert (start == 0).any() and (end == 27).any()
    assert abs(labels.mean() - 0.5) < 0.05
    sides = height[labels == 1], width[labels == 0]
    assert abs(sides[0].mean() - sides[1].mean()) < 0.7, "wide and tall are of a size"


def test_rectangles_of_images_lie_before_another_image():
    inside, behind = np.full((2, COUNT, 28, 28), [[[[200]]], [[[50]]]], np.uint8)
    images, labels = variations.rectangles(np.random.RandomState(0), COUNT, inside, behind)
    (top, bottom), (left, right) = bounds(images == 200)
    np.testing.assert_array_equal(labels, right - left > bottom - top)
    area = (right - left + 1) * (bottom - top + 1)
    np.testing.assert_array_equal((images == 200).sum((1, 2)), area)
    assert set(np.unique(images)) == {50, 200}


def filled_hull(mask):
    """Pixels whose middle lies in the convex hull of the middles of the white ones."""
    white = np.argwhere(mask)
    equations = ConvexHull(white).equations
    places = np.argwhere(np.ones_like(mask))
    inside = (places @ equations[:, :2].T + equations[:, 2] <= 1e-9).all(axis=1)
    return int(inside.sum())


def test_what_is_called_convex_is_it_and_nothing_else():
    images, labels = variations.convex(np.random.RandomState(0), 400)
    assert set(np.unique(images)) == {0, 255} and abs(labels.mean() - 0.5) < 0.1
    for image, label in zip(images > 0, labels, strict=True):
        assert (filled_hull(image) == image.sum()) == bool(label)


def test_size_alone_does_not_tell_convex_ones():
    images, labels = variations.convex(np.random.RandomState(1), COUNT)
    area = (images > 0).mean((1, 2))
    right = [np.mean((area > limit) == (labels == 0)) for limit in np.linspace(0, 1, 101)]
    assert max(right) < 0.7


def test_gray_is_luminance(monkeypatch):
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    assert variations.gray(colors).tolist() == [76, 150, 29, 9]
    images = np.broadcast_to(colors[:, None, None], (4, 32, 32, 3))
    labels = np.arange(4, dtype=np.int32)
    colored = datasets.Dataset("cifar10", "here", images, labels, images[:2], labels[:2])
    monkeypatch.setattr(datasets, "_cifar10", lambda data_dir: colored)
    found = datasets.load("cifar10_gray")
    assert found.name == "cifar10_gray" and found.test_images.shape == (2, 32, 32, 1)
    assert found.train_images[:, 5, 5, 0].tolist() == [76, 150, 29, 9]


@pytest.mark.parametrize("name", variations.PUBLISHED)
def test_small_sets_are_made_of_what_is_embedded_the_same_each_time(name):
    first, second = (datasets.load(name) for _ in range(2))
    assert first.train_images.shape == (1_000, 28, 28, 1) and first.train_images.dtype == np.uint8
    assert first.test_images.shape == (4_166, 28, 28, 1) and first.test_labels.dtype == np.int32
    for one, other in zip(first[2:], second[2:], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(first.train_labels)) == (10 if name.startswith("mnist") else 2)
    other = variations.make(name, SMALL, blank(2_000), blank(2_000), seed=1)
    again = variations.make(name, SMALL, blank(2_000), blank(2_000), seed=2)
    assert name in ("mnist_basic", "mnist_rotated") or (other[0][0] != again[0][0]).any()


@pytest.mark.skipif("GAJAX_TEST_DATA" not in os.environ, reason="needs the official files")
def test_sets_of_official_digits_have_the_published_sizes():
    directory = Path(os.environ["GAJAX_TEST_DATA"])
    for name in ("mnist_rotated", "rectangles"):
        found = datasets.load(name, directory)
        assert (len(found.train_images), len(found.test_images)) == variations.PUBLISHED[name]
        assert len(found.train_labels) == len(found.train_images)


def test_every_name_of_a_flag_is_a_set():
    assert {*datasets.DATASETS} == {*datasets.get_args(datasets.Name)}
    assert {*variations.PUBLISHED} == {*datasets.get_args(datasets.Generated)}
    assert {*predict.SHAPES} < {*datasets.DATASETS}


def test_a_contact_sheet_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command.main(["show", "convex"])
    assert (tmp_path / "convex.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == "written to convex.png\n"
    with pytest.raises(datasets.InputError, match="a command must be given"):
        command.main([])
