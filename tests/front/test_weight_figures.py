import math

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from pictures import check

from experiments.front import weight_figures

GREY, COLOUR = (28, 28, 1), (32, 32, 3)


def kernel(density, shape=(784, 500), seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=shape) * (random.random(shape) < density)


def holds(drawn, tile):
    """Whether `tile` stands somewhere in `drawn`, exactly."""
    height, width, _ = tile.shape
    candidates = np.argwhere((drawn == tile[0, 0]).all(axis=-1))
    return any(np.array_equal(drawn[y : y + height, x : x + width], tile) for y, x in candidates)


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_mosaic_shows_the_fullest_units_and_plain_white_zeros(tmp_path, seen):
    weights = np.zeros((784, 500))
    weights[:100, 30], weights[100:110, 30], weights[5, 60] = -1e-3, 1e-3, 2.0
    weight_figures.mosaic(tmp_path / "mosaic.png", {7: weights}, GREY)
    drawn = check(tmp_path / "mosaic.png").astype(int)
    first, second, third = (drawn[106:162, x : x + 56] for x in (32, 90, 148))
    assert first[0, 0, 2] > first[0, 0, 0] + 40, "negative weights are blue, however small"
    assert first[7, 32, 0] > first[7, 32, 2] + 40, "positive weights are red"
    assert (first < 255).any(axis=-1).sum() == 4 * 110, "four pixels for each weight"
    assert (second < 255).any(axis=-1).sum() == 4
    assert third.min() == 255
    assert "Nonzero weights of the 100 densest of 500 units" in texts(seen.figure)
    assert "generation 7, density 0.000283" in texts(seen.figure)


def test_mosaic_has_one_scale_for_all_generations(tmp_path):
    kernels = {0: np.full((784, 4), 1.0), 9: np.full((784, 4), -3.0)}
    kernels[9][:, 0] = 1.0
    weight_figures.mosaic(tmp_path / "mosaic.png", kernels, GREY)
    drawn = check(tmp_path / "mosaic.png")
    step = 2 * (28 * 10 + 2) + 2 + 32
    np.testing.assert_array_equal(drawn[150, 60], drawn[150, 60 + step])


def test_only_four_generations_have_a_panel(tmp_path, seen):
    kernels = {generation: kernel(0.02) for generation in range(9, -1, -1)}
    weight_figures.mosaic(tmp_path / "mosaic.png", kernels, GREY)
    captions = [text for text in texts(seen.figure) if text.startswith("generation")]
    assert [text.split(",")[0].split()[1] for text in captions] == ["0", "3", "6", "9"]
    weight_figures.connections(tmp_path / "connections.png", kernels)
    titles = [panel.get_title() for panel in seen.panels]
    assert [title.split("\n")[0].split()[1] for title in titles] == ["0", "3", "6", "9"]


ODD = [
    {0: np.zeros((784, 500))},
    {0: np.zeros((784, 500)), 5: np.full((784, 500), math.nan), 8: kernel(1.0)},
    {0: kernel(0.1, (784, 1))},
    {0: kernel(1.0, (784, 7)), 12345: kernel(0.1, (784, 7))},
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kernels", ODD)
def test_mosaics_of_odd_kernels(tmp_path, kernels):
    weight_figures.mosaic(tmp_path / "mosaic.png", kernels, GREY)
    check(tmp_path / "mosaic.png")


@pytest.mark.parametrize("shape", [COLOUR, (4, 4, 1), (5, 9, 2), (300, 200, 3)])
def test_mosaics_of_other_images(tmp_path, shape):
    weight_figures.mosaic(tmp_path / "a.png", {3: kernel(0.1, (math.prod(shape), 12))}, shape)
    check(tmp_path / "a.png")


def drawn_weights(panel):
    return next(item for item in panel.collections if isinstance(item, LineCollection))


def test_connections_join_the_units_of_each_weight(tmp_path, seen):
    weights = np.zeros((4, 2))
    weights[0, 1], weights[3, 0] = 1.0, -0.5
    weight_figures.connections(tmp_path / "connections.png", {3: weights})
    check(tmp_path / "connections.png")
    panel = seen.panels[0]
    found = drawn_weights(panel)
    assert panel.get_title() == "generation 3\n2 of 2 weights drawn"
    ends = np.array(found.get_segments())
    # Unit 1 stands above unit 0, as its input does.
    np.testing.assert_allclose(ends, [[[0, 7 / 8], [1, 3 / 4]], [[0, 1 / 8], [1, 1 / 4]]])
    small, large = found.get_colors()
    assert small[2] > small[0] and large[0] > large[2], "blue is negative, red positive"
    assert small[3] < large[3]


def test_connections_are_the_largest_weights(tmp_path, seen):
    weights = kernel(0.5)
    weight_figures.connections(tmp_path / "connections.png", {0: weights, 1: kernel(0.001)})
    check(tmp_path / "connections.png")
    many, few = seen.panels
    number = np.count_nonzero(weights)
    assert many.get_title() == f"generation 0\n150 of {number:,} weights drawn"
    ends = np.array(drawn_weights(many).get_segments())[:, :, 1]
    inputs = (ends[:, 0] * 784 - 0.5).round().astype(int)
    largest = np.sort(np.abs(weights).ravel())[-150:]
    places = [np.argwhere(np.abs(weights) == size)[0] for size in largest]
    np.testing.assert_array_equal(inputs, [place[0] for place in places])
    assert len(drawn_weights(few).get_segments()) == 150


def test_connections_say_what_the_inputs_are(tmp_path, seen):
    path = tmp_path / "connections.png"
    weight_figures.connections(path, {0: kernel(0.1, (40, 12))}, "Dense_0", "outputs")
    check(path)
    names = [text.get_text() for text in seen.panels[0].get_xticklabels()]
    assert names == ["40\noutputs", "12\nunits"]
    assert seen.figure.get_suptitle() == "Largest weights of Dense_0"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kernels", ODD)
def test_connections_of_odd_kernels(tmp_path, seen, kernels):
    weight_figures.connections(tmp_path / "connections.png", kernels)
    check(tmp_path / "connections.png")
    assert len(seen.panels) == len(kernels)


@pytest.mark.parametrize(("count", "shape", "zoom"), [(1, GREY, 4), (10, GREY, 4), (3, COLOUR, 3)])
def test_evolved_reconstructions_show_every_pixel(tmp_path, seen, count, shape, zoom):
    random = np.random.default_rng(0)
    originals = random.integers(0, 256, (count, math.prod(shape))).astype(np.uint8)
    copies = {250: originals / 255, 0: (255 - originals) / 255}
    labels = [f"class {index}" for index in range(count)]
    path = tmp_path / "evolved.png"
    weight_figures.evolved_reconstructions(path, originals, copies, shape, labels)
    drawn = check(path)
    for original in originals:
        first = np.broadcast_to(original.reshape(shape), (*shape[:2], 3))
        tiles = [image.repeat(zoom, axis=0).repeat(zoom, axis=1) for image in (first, 255 - first)]
        gap = np.full((18, tiles[0].shape[1], 3), 255, np.uint8)
        assert holds(drawn, np.vstack([tiles[0], gap, tiles[1], gap[:10], tiles[0]]))
    error = np.sqrt(np.mean((2 * (originals / 255) - 1) ** 2))
    rows = ["original", f"generation 0\nRMSE {error:.3f}", "generation 250\nRMSE 0.000"]
    assert [text for text in texts(seen.figure) if text in rows] == rows
    assert set(labels) <= set(texts(seen.figure))


@pytest.mark.filterwarnings("error")
def test_evolved_reconstructions_of_odd_images(tmp_path):
    originals, path = np.zeros((2, 784), np.uint8), tmp_path / "evolved.png"
    broken = np.array([[math.nan, math.inf, -math.inf, 1e30] * 196] * 2)
    weight_figures.evolved_reconstructions(path, originals, {0: broken}, GREY)
    check(path)
    many = np.zeros((40, 784), np.uint8)
    weight_figures.evolved_reconstructions(path, many, {g: many for g in range(12)}, GREY)
    check(path)
