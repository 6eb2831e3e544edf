import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import check

from experiments.front import figures, report

FRONT = (np.array([0.02, 0.05, 0.1, 0.2]), np.array([0.1, 0.05, 0.02, 0.01]))
NOTHING = (np.zeros(0), np.zeros(0))


def draw_fronts(path, fronts, **options):
    figures.fronts(path, fronts, loss_name="loss", zero_loss=0.2312, **options)
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
    path = report.PUBLISHED
    rows = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf8")
    published = {
        str(name): (rows["density"][chosen], rows["mse"][chosen])
        for name in dict.fromkeys(rows["algorithm"])
        for chosen in [rows["algorithm"] == name]
    }
    draw_fronts(tmp_path / "fronts.png", {"GEMONN": FRONT}, published=published)
    assert len(legend(seen.panels[0])) == 11


def decline(path, series):
    figures.decline(path, series, x_name="gradient examples", loss_name="loss")
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
    figures.hypervolumes(tmp_path / "a.png", np.arange(len(values)), np.array(values))
    check(tmp_path / "a.png")
    finite = [value for value in values if math.isfinite(value)]
    assert [text.get_text() for text in seen.panels[0].texts] == [f"{v:.3f}" for v in finite[-1:]]
    np.testing.assert_array_equal(seen.panels[0].lines[0].get_ydata(), finite)
    assert seen.panels[0].get_ylim()[0] == 0


def test_pictures_are_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        draw_fronts(tmp_path / f"{name}.png", {"GEMONN": FRONT}, published={"GEMONN": FRONT})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_progress_has_a_curve_for_each_method_by_steps_and_by_cost(tmp_path, seen):
    series = {
        "ladder": (np.array([22, 44]), np.array([1e4, 2e4]), np.array([0.2, 0.4])),
        "nsga2": (np.array([1, 2, 3]), np.array([1e3, 2e3, 3e3]), np.array([np.nan, 0.1, 0.2])),
        "one row": (np.array([7]), np.array([5e3]), np.array([0.3])),
    }
    figures.progress(tmp_path / "progress.png", series)
    check(tmp_path / "progress.png")
    for panel, number in zip(seen.panels, (0, 1), strict=True):
        assert panel.get_xscale() == "log" and panel.get_ylim()[0] == 0
        kept = [np.isfinite(values[2]) for values in series.values()]
        for line, values, is_in in zip(lines(panel), series.values(), kept, strict=True):
            np.testing.assert_array_equal(line, [values[number][is_in], values[2][is_in]])
    texts = [text.get_text() for text in seen.panels[1].get_legend().get_texts()]
    assert texts == ["", "ladder", "one row", "nsga2", "last", "0.400", "0.300", "0.200"]
