import math

import numpy as np
import pytest
from PIL import Image

from experiments.autoencoder import figures

GREY, COLOUR = (28, 28, 1), (32, 32, 3)


def noise(count, shape, seed=0):
    return np.random.default_rng(seed).random((count, math.prod(shape)))


def row(phase="784-500", generation=0, best=0.2, median=0.25, worst=0.5):
    values = {"best_rmse": best, "median_rmse": median, "worst_rmse": worst}
    return {"phase": phase, "generation": generation, **values, "survivor": 3}


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert max(image.info["dpi"]) >= 144
        return np.asarray(image.convert("RGB"))


def check(path):
    """The pixels of a picture that is of a reasonable size and not blank."""
    drawn = pixels(path)
    height, width, _ = drawn.shape
    assert 200 <= height <= 3000 and 300 <= width <= 2000
    assert path.stat().st_size < 2_000_000
    assert np.count_nonzero(np.bincount(drawn.ravel())) > 10
    return drawn


def holds(drawn, tile):
    """Whether `tile` stands somewhere in `drawn`, exactly."""
    height, width, _ = tile.shape
    candidates = np.argwhere((drawn == tile[0, 0]).all(axis=-1))
    return any(np.array_equal(drawn[y : y + height, x : x + width], tile) for y, x in candidates)


def enlarged(image, shape, zoom):
    image = np.broadcast_to(image.reshape(shape), (*shape[:2], 3))
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


@pytest.mark.parametrize("shape", [GREY, COLOUR, (8, 16, 1), (300, 200, 3)])
def test_pair_holds_every_pixel_of_both_images(tmp_path, shape):
    original = np.random.default_rng(1).integers(0, 256, math.prod(shape)).astype(np.uint8)
    copy = 255 - original
    figures.pair(tmp_path / "pair.png", original, copy / 255, shape, r"7 of $\nothing$")
    drawn = check(tmp_path / "pair.png")
    zoom = max(1, 280 // shape[0])
    half = drawn.shape[1] // 2
    assert holds(drawn[:, :half], enlarged(original, shape, zoom))
    assert holds(drawn[:, half:], enlarged(copy, shape, zoom))


@pytest.mark.filterwarnings("error")
def test_pair_bears_what_a_diverged_network_gives(tmp_path):
    original = np.zeros(784, np.uint8)
    copy = np.array([np.nan, np.inf, -np.inf, 1e30] * 196, np.float32)
    figures.pair(tmp_path / "pair.png", original, copy, GREY, "none")
    expected = np.array([0, 255, 0, 255] * 196, np.uint8)
    assert holds(check(tmp_path / "pair.png"), enlarged(expected, GREY, 10))


@pytest.mark.parametrize(
    ("count", "shape", "zoom"), [(1, GREY, 4), (10, GREY, 4), (13, GREY, 4), (10, COLOUR, 3)]
)
def test_reconstructions_show_each_image_over_its_copy(tmp_path, count, shape, zoom):
    originals = np.rint(255 * noise(count, shape)).astype(np.uint8)
    copies = noise(count, shape, seed=1)
    titles = [f"class {index}" for index in range(count)]
    figures.reconstructions(tmp_path / "images.png", originals, copies, shape, titles)
    drawn = check(tmp_path / "images.png")
    for original, copy in zip(originals, np.rint(255 * copies).astype(np.uint8), strict=True):
        column = [enlarged(image, shape, zoom) for image in (original, copy)]
        gap = np.full((10, column[0].shape[1], 3), 255, np.uint8)
        assert holds(drawn, np.vstack([column[0], gap, column[1]]))


def test_titles_appear_above_the_images(tmp_path):
    images = noise(2, GREY)
    figures.reconstructions(tmp_path / "bare.png", images, images, GREY)
    figures.reconstructions(tmp_path / "named.png", images, images, GREY, ["one", "two"])
    assert len(check(tmp_path / "named.png")) > len(check(tmp_path / "bare.png"))


def test_filters_are_the_largest_in_order_and_zero_is_white(tmp_path):
    kernel = np.zeros((784, 120))
    kernel[:100, 30] = np.linspace(-0.01, -0.02, 100)
    kernel[-100:, 30] = np.linspace(0.01, 0.02, 100)
    figures.filters(tmp_path / "filters.png", kernel, GREY)
    drawn = check(tmp_path / "filters.png").astype(int)
    first, second = drawn[80:164, 30:114], drawn[80:164, 120:204]
    assert first[0, 0, 2] > first[0, 0, 0] + 50, "negative weights are blue"
    assert first[-1, -1, 0] > first[-1, -1, 2] + 50, "positive weights are red"
    assert second.min() > 240 and np.ptp(second) < 10


@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        (np.zeros((784, 500)), GREY),
        (np.full((784, 7), 0.3), GREY),
        (np.ones((784, 1)), GREY),
        (noise(3072, (5, 1, 1)), COLOUR),
        (noise(16, (3, 1, 1)), (4, 4, 1)),
    ],
)
def test_filters_of_odd_kernels(tmp_path, kernel, shape):
    figures.filters(tmp_path / "filters.png", kernel, shape)
    check(tmp_path / "filters.png")


def blue(drawn):
    """Where the line of the best runs: bool [H, W] without the legend at the bottom."""
    line = np.abs(drawn.astype(int) - (0, 114, 178)).max(axis=-1) < 12
    return line[: int(0.8 * len(line))]


@pytest.mark.parametrize("worst", [0.5, 1e30, math.inf, math.nan])
def test_the_best_fills_its_panel_however_bad_the_worst_is(tmp_path, worst):
    rows = [row(generation=g, best=0.4 - 0.03 * g, median=0.41, worst=worst) for g in range(10)]
    figures.learning_curves(tmp_path / "curves.png", rows)
    line = blue(check(tmp_path / "curves.png"))
    rows_with_line = np.flatnonzero(line.any(axis=1))
    assert np.ptp(rows_with_line) > 0.5 * len(line)
    columns = np.flatnonzero(line.any(axis=0))
    assert line[:, columns[0]].argmax() < line[:, columns[-2]].argmax(), "it falls"


@pytest.mark.parametrize("count", [1, 5, 6])
def test_every_phase_has_its_panel(tmp_path, count):
    rows = [
        row(phase=f"layer {phase}", generation=generation, best=0.3 / (1 + generation))
        for phase in range(count)
        for generation in range(20)
    ]
    figures.learning_curves(tmp_path / "curves.png", rows)
    drawn = check(tmp_path / "curves.png")
    columns = min(count, 5)
    width = drawn.shape[1] // columns
    assert all(blue(drawn)[:, c * width : (c + 1) * width].any() for c in range(columns))
    assert (len(drawn) > 700) == (count > 5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("worst", [0.4, 1e30, math.nan, math.inf])
def test_phases_of_one_generation_share_a_panel(tmp_path, seen, worst):
    rows = [
        row(phase=phase, generation=generation, best=0.3 / (1 + generation), worst=worst)
        for phase, last in (("a", 1), ("b", 1), ("all", 3))
        for generation in range(last + 1)
    ]
    figures.learning_curves(tmp_path / "curves.png", rows)
    check(tmp_path / "curves.png")
    shared, last = seen.panels
    assert (shared.get_title(), last.get_title()) == ("phases of one generation", "all")
    assert [text.get_text() for text in shared.get_xticklabels()] == ["a", "b"]
    points = {line.get_label(): line.get_ydata().tolist() for line in shared.lines}
    assert points["best before"] == [0.3, 0.3] and points["best"] == [0.15, 0.15]


@pytest.mark.parametrize("best", [0.2, 0.0, math.nan, 1e-6])
def test_one_generation_is_drawn_as_points(tmp_path, best):
    figures.learning_curves(tmp_path / "curves.png", [row(best=best)])
    assert blue(check(tmp_path / "curves.png")).any() == (best > 0)


def orange(drawn):
    return (np.abs(drawn.astype(int) - (213, 94, 0)).max(axis=-1) < 12).sum()


def test_confusion_colours_mistakes_and_not_hits(tmp_path):
    right = np.diag(np.full(10, 100))
    figures.confusion(tmp_path / "right.png", right, "all right")
    assert orange(check(tmp_path / "right.png")) == 0
    wrong = right.copy()
    wrong[4, 9] = 30
    figures.confusion(tmp_path / "wrong.png", wrong, "a pair confused")
    drawn = check(tmp_path / "wrong.png")
    cells, bars = drawn[:, : int(0.8 * drawn.shape[1])], drawn[:, int(0.82 * drawn.shape[1]) :]
    assert orange(cells) > 2000, "the cell"
    assert orange(bars) > 500, "the error of its class"


@pytest.mark.parametrize("matrix", [np.zeros((10, 10), int), np.ones((3, 3), int), np.ones((1, 1))])
def test_confusion_of_odd_matrices(tmp_path, matrix):
    figures.confusion(tmp_path / "confusion.png", matrix, "odd")
    check(tmp_path / "confusion.png")


def test_pictures_are_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        figures.learning_curves(tmp_path / f"{name}.png", [row(), row(generation=1)])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_users_own_matplotlib_settings_change_nothing_and_stay(tmp_path):
    import matplotlib

    figures.confusion(tmp_path / "a.png", np.eye(10, dtype=int), "title")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        figures.confusion(tmp_path / "b.png", np.eye(10, dtype=int), "title")
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
