import math
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from PIL import Image

from experiments import front_figures

GREY, COLOUR = (28, 28, 1), (32, 32, 3)
FRONT = (np.array([0.02, 0.05, 0.1, 0.2]), np.array([0.1, 0.05, 0.02, 0.01]))
NOTHING = (np.zeros(0), np.zeros(0))


@pytest.fixture
def seen(monkeypatch):
    """What the last picture was drawn with: its matplotlib figure and panels."""
    last, canvas = SimpleNamespace(), front_figures._canvas

    @contextmanager
    def watched(*args, **options):
        with canvas(*args, **options) as figure:
            yield figure
        last.figure, last.panels = figure, figure.axes

    monkeypatch.setattr(front_figures, "_canvas", watched)
    return last


def check(path):
    """The pixels of a picture that is of a reasonable size and not blank."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert max(image.info["dpi"]) >= 144
        drawn = np.asarray(image.convert("RGB"))
    height, width, _ = drawn.shape
    assert 200 <= height <= 3000 and 300 <= width <= 2000
    assert path.stat().st_size < 3_000_000
    assert np.count_nonzero(np.bincount(drawn.ravel())) > 10
    for edge in (drawn[:3], drawn[-3:], drawn[:, :3], drawn[:, -3:]):
        assert edge.min() == 255, "nothing is cut off"
    return drawn


def draw_fronts(path, fronts, **options):
    front_figures.fronts(path, fronts, loss_name="loss", zero_loss=0.2312, **options)
    return check(path)


def legend(panel):
    """The texts of the legend, row by row."""
    texts = [text.get_text() for text in panel.get_legend().get_texts()]
    if "log hypervolume" not in texts and "last loss" not in texts:
        return texts
    half = len(texts) // 2
    return list(zip(texts[:half], texts[half:], strict=True))


def lines(panel):
    """The data of everything that was plotted, stairs and points in turn."""
    return [np.array(line.get_data(), float) for line in panel.lines]


def kernel(density, shape=(784, 500), seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=shape) * (random.random(shape) < density)


def holds(drawn, tile):
    """Whether `tile` stands somewhere in `drawn`, exactly."""
    height, width, _ = tile.shape
    candidates = np.argwhere((drawn == tile[0, 0]).all(axis=-1))
    return any(np.array_equal(drawn[y : y + height, x : x + width], tile) for y, x in candidates)


def test_a_front_is_drawn_as_points_on_what_it_attains(tmp_path, seen):
    density, loss = np.array([0.2, 0.05, 0.1]), np.array([0.01, 0.02, 0.05])
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": (density, loss)})
    panel = seen.panels[0]
    assert panel.get_xscale() == panel.get_yscale() == "log"
    stairs, points = lines(panel)[:2]
    np.testing.assert_array_equal(points, [[0.05, 0.1, 0.2], [0.02, 0.05, 0.01]])
    np.testing.assert_array_equal(stairs, [[0.05, 0.1, 0.2], [0.02, 0.02, 0.01]])
    assert panel.lines[0].get_drawstyle() == "steps-post"
    assert panel.lines[0].get_linewidth() > 1


def test_what_a_logarithm_cannot_show_is_left_out(tmp_path, seen):
    density = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, math.nan])
    loss = np.array([0.2, math.nan, math.inf, -1.0, 0.0, 0.1, 0.1])
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": (density, loss)})
    np.testing.assert_array_equal(lines(seen.panels[0])[1], [[0.5], [0.1]])


def test_one_point_is_a_marker_without_a_line(tmp_path, seen):
    fronts = {"GEMONN": FRONT, "Adam": (np.array([1.0]), np.array([0.001]))}
    draw_fronts(tmp_path / "fronts.png", fronts)
    stairs, points = seen.panels[0].lines[2:4]
    assert stairs.get_linewidth() == 0
    assert points.get_marker() not in ("", "None") and points.get_linestyle() == "None"
    assert points.get_markersize() > seen.panels[0].lines[1].get_markersize()


def test_ten_fronts_differ_in_colour_and_marker(tmp_path, seen):
    fronts = {f"method {index}": (FRONT[0], FRONT[1] / (1 + index)) for index in range(12)}
    draw_fronts(tmp_path / "fronts.png", fronts)
    points = seen.panels[0].lines[1:24:2]
    assert len({to_hex(line.get_color()) for line in points[:10]}) == 10
    assert len({line.get_marker() for line in points[:10]}) == 10
    assert legend(seen.panels[0]) == list(fronts)


def test_published_points_are_grey_and_behind(tmp_path, seen):
    published = {f"method {index}": FRONT for index in range(10)}
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": FRONT}, published=published)
    panel = seen.panels[0]
    own, grey = panel.lines[:2], panel.lines[3:22:2]
    assert all(len(set(to_hex(line.get_color())[1:].upper())) == 2 for line in grey), "8F8F8F"
    assert len({line.get_marker() for line in grey}) == 10
    assert all(line.get_linewidth() == 0 for line in panel.lines[2:22:2])
    assert min(line.zorder for line in own) > max(line.zorder for line in grey)
    assert legend(panel) == ["GEMONN", *(f"published {name}" for name in published)]


def test_scores_stand_beside_their_names(tmp_path, seen):
    scores = {"GEMONN": 0.31, "published GEMONN": 0.2104, "not drawn": 0.5}
    fronts, published = {"GEMONN": FRONT, "Adam": FRONT}, {"GEMONN": FRONT}
    draw_fronts(tmp_path / "fronts.png", fronts, published=published, scores=scores)
    rows = [("GEMONN", "0.310"), ("Adam", ""), ("published GEMONN", "0.210")]
    assert legend(seen.panels[0]) == [("", "log hypervolume"), *rows]


def test_the_all_zero_network_is_a_dashed_line(tmp_path, seen):
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": FRONT})
    panel = seen.panels[0]
    line = panel.lines[-1]
    assert set(line.get_ydata()) == {0.2312} and line.is_dashed()
    assert "all-zero network" in [text.get_text() for text in panel.texts]
    assert panel.get_ylim()[0] < 0.01 and panel.get_ylim()[1] > 0.2312


def test_useless_points_do_not_squeeze_the_others_and_are_counted(tmp_path, seen):
    density, loss = FRONT
    fronts = {"GEMONN": FRONT, "bad": (np.array([1e-9, 0.03, 0.05]), np.array([0.23, 1e30, 0.1]))}
    draw_fronts(tmp_path / "fronts.png", fronts)
    panel = seen.panels[0]
    assert panel.get_xlim()[0] > density.min() / 2 and panel.get_ylim()[1] < 1
    assert [text.get_text() for text in panel.texts][-1].endswith(": 2")
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": FRONT})
    assert seen.panels[0].texts[-1].get_text() == ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "fronts",
    [
        {},
        {"empty": NOTHING},
        {"empty": NOTHING, "GEMONN": FRONT},
        {"same": (np.full(5, 0.02), np.full(5, 0.1))},
        {"all useless": (np.array([0.1, 0.2]), np.array([3.0, 2.0]))},
        {"as good as zero": (np.full(3, 1e-4), np.full(3, 0.2312))},
        {"a very long name of a method with (all, its, settings)": FRONT},
    ],
)
def test_odd_fronts(tmp_path, seen, fronts):
    draw_fronts(tmp_path / "fronts.png", fronts, scores={"GEMONN": math.nan})
    panel = seen.panels[0]
    low, high = panel.get_xlim()
    shown = [x for x in panel.xaxis.get_majorticklocs() if low <= x <= high]
    assert len(shown) >= 2, "the axis can be read"
    window = panel.get_window_extent()
    assert window.width > 0.5 * seen.figure.bbox.width


def test_the_published_fronts_of_this_repository(tmp_path, seen):
    path = Path(front_figures.__file__).parent / "data" / "gemonn_published_front.csv"
    rows = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf8")
    published = {
        str(name): (rows["density"][chosen], rows["mse"][chosen])
        for name in dict.fromkeys(rows["algorithm"])
        for chosen in [rows["algorithm"] == name]
    }
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": FRONT}, published=published)
    assert len(legend(seen.panels[0])) == 11


def decline(path, series):
    front_figures.decline(path, series, x_name="gradient examples", loss_name="loss")
    return check(path)


def test_decline_is_logarithmic_only_over_a_long_way(tmp_path, seen):
    loss = np.array([0.2, 0.1, 0.05])
    decline(tmp_path / "a.png", {"GEMONN": (np.array([1, 50, 100]), loss)})
    assert (seen.panels[0].get_xscale(), seen.panels[0].get_yscale()) == ("linear", "log")
    decline(tmp_path / "b.png", {"GEMONN": (np.array([0, 1, 1000]), loss)})
    assert (seen.panels[0].get_xscale(), seen.panels[0].get_yscale()) == ("log", "log")
    np.testing.assert_array_equal(lines(seen.panels[0])[0], [[1, 1000], [0.1, 0.05]])


def test_decline_names_the_lines_from_the_top(tmp_path, seen):
    x = np.arange(3)
    series = {"low": (x, [0.2, 0.1, 0.01]), "none": NOTHING, "high": (x, [0.2, 0.19, 0.18])}
    decline(tmp_path / "decline.png", series)
    rows = [("high", "0.180"), ("low", "0.0100"), ("none", "")]
    assert legend(seen.panels[0]) == [("", "last loss"), *rows]
    colors = [to_hex(line.get_color()) for line in seen.panels[0].lines]
    assert len(set(colors)) == 3
    handles = [to_hex(line.get_color()) for line in seen.panels[0].get_legend().get_lines()]
    assert handles[1:4] == [colors[2], colors[0], colors[1]], "colours go by the order given"


def test_a_method_that_diverges_does_not_flatten_the_others(tmp_path, seen):
    x = np.arange(20.0)
    series = {"GEMONN": (x, 0.2 / (1 + x)), "SGD": (x, 0.2 * np.exp(5 * x))}
    decline(tmp_path / "decline.png", series)
    assert seen.panels[0].get_ylim()[1] < 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "series",
    [
        {},
        {"empty": NOTHING},
        {"one": (np.array([0]), np.array([0.2]))},
        {"one": (np.array([7.0]), np.array([0.2])), "empty": NOTHING},
        {"flat": (np.arange(5), np.full(5, 0.2))},
        {"lost": (np.arange(3), np.array([0.2, math.nan, math.inf]))},
        {"hours": (np.linspace(0, 0.5, 9), np.linspace(0.2, 0.19, 9))},
    ],
)
def test_decline_of_odd_series(tmp_path, seen, series):
    decline(tmp_path / "decline.png", series)
    low, high = seen.panels[0].get_xlim()
    ticks = [x for x in seen.panels[0].xaxis.get_majorticklocs() if low <= x <= high]
    assert len(ticks) >= (2 if {"flat", "hours"} & set(series) else 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[], [0.1], [0.0, 0.0], [0.1, math.nan, 0.31], [math.nan]])
def test_hypervolumes_end_with_their_last_value(tmp_path, seen, values):
    front_figures.hypervolumes(tmp_path / "a.png", np.arange(len(values)), np.array(values))
    check(tmp_path / "a.png")
    finite = [value for value in values if math.isfinite(value)]
    assert [text.get_text() for text in seen.panels[0].texts] == [f"{v:.3f}" for v in finite[-1:]]
    np.testing.assert_array_equal(seen.panels[0].lines[0].get_ydata(), finite)
    assert seen.panels[0].get_ylim()[0] == 0


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_mosaic_shows_the_fullest_units_and_plain_white_zeros(tmp_path, seen):
    weights = np.zeros((784, 500))
    weights[:100, 30], weights[100:110, 30], weights[5, 60] = -1e-3, 1e-3, 2.0
    front_figures.mosaic(tmp_path / "mosaic.png", {7: weights}, GREY)
    drawn = check(tmp_path / "mosaic.png").astype(int)
    first, second, third = (drawn[106:162, x : x + 56] for x in (32, 90, 148))
    assert first[0, 0, 2] > first[0, 0, 0] + 40, "negative weights are blue, however small"
    assert first[7, 32, 0] > first[7, 32, 2] + 40, "positive weights are red"
    assert (first < 255).any(axis=-1).sum() == 4 * 110, "four pixels for each weight"
    assert (second < 255).any(axis=-1).sum() == 4
    assert third.min() == 255
    assert "Where the weights are: the 100 fullest of 500 units" in texts(seen.figure)
    assert "generation 7, density 0.000283" in texts(seen.figure)


def test_mosaic_has_one_scale_for_all_generations(tmp_path):
    kernels = {0: np.full((784, 4), 1.0), 9: np.full((784, 4), -3.0)}
    kernels[9][:, 0] = 1.0
    front_figures.mosaic(tmp_path / "mosaic.png", kernels, GREY)
    drawn = check(tmp_path / "mosaic.png")
    step = 2 * (28 * 10 + 2) + 2 + 32
    np.testing.assert_array_equal(drawn[150, 60], drawn[150, 60 + step])


def test_only_four_generations_have_a_panel(tmp_path, seen):
    kernels = {generation: kernel(0.02) for generation in range(9, -1, -1)}
    front_figures.mosaic(tmp_path / "mosaic.png", kernels, GREY)
    captions = [text for text in texts(seen.figure) if text.startswith("generation")]
    assert [text.split(",")[0].split()[1] for text in captions] == ["0", "3", "6", "9"]
    front_figures.connections(tmp_path / "connections.png", kernels)
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
    front_figures.mosaic(tmp_path / "mosaic.png", kernels, GREY)
    check(tmp_path / "mosaic.png")


@pytest.mark.parametrize("shape", [COLOUR, (4, 4, 1), (5, 9, 2), (300, 200, 3)])
def test_mosaics_of_other_images(tmp_path, shape):
    front_figures.mosaic(tmp_path / "a.png", {3: kernel(0.1, (math.prod(shape), 12))}, shape)
    check(tmp_path / "a.png")


def drawn_weights(panel):
    return next(item for item in panel.collections if isinstance(item, LineCollection))


def test_connections_join_the_units_of_each_weight(tmp_path, seen):
    weights = np.zeros((4, 2))
    weights[0, 1], weights[3, 0] = 1.0, -0.5
    front_figures.connections(tmp_path / "connections.png", {3: weights})
    check(tmp_path / "connections.png")
    panel = seen.panels[0]
    found = drawn_weights(panel)
    assert panel.get_title() == "generation 3\n2 of 2 weights drawn"
    ends = np.array(found.get_segments())
    np.testing.assert_allclose(ends, [[[0, 7 / 8], [1, 1 / 4]], [[0, 1 / 8], [1, 3 / 4]]])
    small, large = found.get_colors()
    assert small[2] > small[0] and large[0] > large[2], "blue is negative, red positive"
    assert small[3] < large[3]


def test_connections_are_the_largest_weights(tmp_path, seen):
    weights = kernel(0.5)
    front_figures.connections(tmp_path / "connections.png", {0: weights, 1: kernel(0.001)})
    check(tmp_path / "connections.png")
    many, few = seen.panels
    number = np.count_nonzero(weights)
    assert many.get_title() == f"generation 0\n2,000 of {number:,} weights drawn"
    ends = np.array(drawn_weights(many).get_segments())[:, :, 1]
    units = (ends * weights.shape - 0.5).round().astype(int)
    largest = np.sort(np.abs(weights).ravel())[-2000:]
    np.testing.assert_array_equal(np.abs(weights[units[:, 0], units[:, 1]]), largest)
    assert len(drawn_weights(few).get_segments()) == np.count_nonzero(kernel(0.001)) < 2000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kernels", ODD)
def test_connections_of_odd_kernels(tmp_path, seen, kernels):
    front_figures.connections(tmp_path / "connections.png", kernels)
    check(tmp_path / "connections.png")
    assert len(seen.panels) == len(kernels)


@pytest.mark.parametrize(("count", "shape", "zoom"), [(1, GREY, 4), (10, GREY, 4), (3, COLOUR, 3)])
def test_evolved_reconstructions_show_every_pixel(tmp_path, seen, count, shape, zoom):
    random = np.random.default_rng(0)
    originals = random.integers(0, 256, (count, math.prod(shape))).astype(np.uint8)
    copies = {250: originals / 255, 0: (255 - originals) / 255}
    labels = [f"class {index}" for index in range(count)]
    path = tmp_path / "evolved.png"
    front_figures.evolved_reconstructions(path, originals, copies, shape, labels)
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
    front_figures.evolved_reconstructions(path, originals, {0: broken}, GREY)
    check(path)
    many = np.zeros((40, 784), np.uint8)
    front_figures.evolved_reconstructions(path, many, {g: many for g in range(12)}, GREY)
    check(path)


def test_pictures_are_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        draw_fronts(tmp_path / f"{name}.png", {"GEMONN": FRONT}, published={"GEMONN": FRONT})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
