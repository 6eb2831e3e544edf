"""Figures of fronts of density against loss, and of their quality by generation."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from experiments.reporting.canvas import (
    BLUE,
    DARK,
    GREY,
    RED,
    canvas,
)

Curve = tuple[np.ndarray, np.ndarray]

COLORS = f"{BLUE} {RED} #009E73 #CC79A7 #E69F00 #56B4E9 #000000 #882255 #999933 #4B3B9B".split()
_MARKERS, _GREY_MARKERS = "osD^vp<h>d", "x+12s^vd*p"
_TICKS = {"steps": (1, 2, 2.5, 5, 10), "min_n_ticks": 1}


def fronts(
    path: Path,
    fronts: Mapping[str, Curve],
    *,
    loss_name: str,
    zero_loss: float,
    published: Mapping[str, Curve] | None = None,
    scores: Mapping[str, float] | None = None,
    title: str = "Loss against density by method",
) -> None:
    """Draw fronts, each a density [K] and a loss [K], with their attainment staircases.

    `zero_loss` is the loss of the all-zero network. `published` fronts are grey, with "published"
    in the legend. `scores` maps names in the legend to log hypervolumes. Points of zero density or
    without a positive finite loss are omitted; a note counts those out of view.
    """
    series = {**fronts, **{f"published {name}": front for name, front in (published or {}).items()}}
    drawn = {name: _positive(*front) for name, front in series.items()}
    points = np.concatenate([np.zeros((2, 0)), *drawn.values()], axis=1)
    widths = points[0][points[1] < 0.9 * zero_loss]
    left, right = widths.min(initial=0.1) / 1.3, points[0].max(initial=0.1) * 1.3
    bottom, top = min(points[1].min(initial=zero_loss) / 1.4, zero_loss / 3), 1.7 * zero_loss
    outside = np.count_nonzero((points[0] < left) | (points[1] > top))
    with canvas(path, 1600, 860, layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title(title, loc="left", size=11)
        panel.set(xlabel="density (share of weights that are not zero)", ylabel=loss_name)
        handles = []
        for index, (density, loss) in enumerate(drawn.values()):
            is_ours, several = index < len(fronts), len(loss) > 1
            color = COLORS[index % 10] if is_ours else "#8F8F8F"
            marker = _MARKERS[index % 10] if is_ours else _GREY_MARKERS[(index - len(fronts)) % 10]
            line = panel.step(density, np.minimum.accumulate(loss), color, where="post")[0]
            line.set(linewidth=1.5 * (is_ours and several), zorder=2.2, linestyle=_dashes(index))
            dots = panel.plot(density, loss, marker, color=color, ms=4.5)[0]
            if is_ours:
                dots.set(mec="white", mew=0.4, ms=4.5 if several else 7, zorder=2.3)
            handles.append((line, dots))
        panel.axhline(zero_loss, color=DARK, linestyle=(0, (6, 4)), linewidth=0.8, zorder=1.8)
        beside: dict[str, Any] = {"ha": "right", "transform": panel.get_yaxis_transform()}
        backing = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}  # over points
        panel.text(0.99, zero_loss * 1.04, "all-zero network", bbox=backing, zorder=4, **beside)
        note = f"points out of view (less than 10 % better than all-zero): {outside}"
        panel.text(0.99, zero_loss * 1.45, note if outside else "", color=GREY, size=7, **beside)
        _logarithmic(panel, "x", left, right)
        _logarithmic(panel, "y", bottom, top)
        _legend(panel, handles, [*drawn], scores or {}, ".3f", "log hypervolume")


def decline(path: Path, series: Mapping[str, Curve], *, x_name: str, loss_name: str) -> None:
    """Draw curves of an x [T] and the lowest loss [T] each.

    The legend is sorted by final loss. If the largest x is over 100 times the smallest positive
    one, the x axis is logarithmic and points at x = 0 are omitted.
    """
    drawn = {name: _positive(*curve, above=-1) for name, curve in series.items()}
    xs, losses = np.concatenate([np.zeros((2, 0)), *drawn.values()], axis=1)
    lowest, highest = xs[xs > 0].min(initial=math.inf), xs.max(initial=0)
    # Keep a diverging method from flattening all other curves.
    starts = [values[1, 0] for values in drawn.values() if values.size]
    roof = min(losses.max(), 10 * np.median(starts)) if starts else 1.0
    last = {name: values[1, -1] for name, values in drawn.items() if values.size}
    with canvas(path, 1600, 760, layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title(f"Loss of the best network by {x_name}", loc="left", size=11)
        panel.set(xlabel=x_name, ylabel=loss_name, xmargin=0.02)
        lines = {}
        for index, (name, values) in enumerate(drawn.items()):
            x, loss = values[:, values[0] > 0] if highest > 100 * lowest else values
            lines[name] = panel.plot(x, loss, color=COLORS[index % 10], linewidth=1.6)[0]
            lines[name].set_marker(_MARKERS[index % 10] if len(x) == 1 else "")
            lines[name].set_linestyle(_dashes(index))
        panel.xaxis.set_major_locator(
            MaxNLocator(8, integer=x_name == "generation" or highest >= 8, **_TICKS)
        )
        panel.xaxis.set_major_formatter("{x:,.12g}")
        if highest > 100 * lowest:
            _logarithmic(panel, "x", lowest / 1.1, highest * 1.1)
        _logarithmic(panel, "y", losses.min(initial=roof) / 1.2, roof * 1.2)
        names = sorted(drawn, key=lambda name: -last.get(name, 0))
        _legend(panel, [lines[name] for name in names], names, last, "#.3g", "last loss")


def hypervolumes(path: Path, generations: np.ndarray, values: np.ndarray) -> None:
    """Draw the log hypervolume [T], in [0, 1], by generation [T]."""
    generations, values = np.array([generations, values])[:, np.isfinite(values)]
    top = 1.15 * values.max(initial=0.01)
    with canvas(path, 1000, 650, layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title("Log hypervolume of the front by generation", loc="left", size=11)
        panel.plot(generations, values, "-" if len(values) > 1 else "o", color=BLUE, clip_on=False)
        for x, value in zip(generations[-1:], values[-1:], strict=True):
            panel.text(x, value + top / 40, f"{value:.3f}", color=BLUE, ha="right", weight="bold")
        panel.set(xlabel="generation", ylabel="log hypervolume", ylim=(0, top), xmargin=0.02)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, **_TICKS))


def progress(path: Path, series: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Draw log hypervolumes [T] by sequential steps [T] and by cost [T], in a panel each."""
    with canvas(path, 1600, 700, layout="constrained") as figure:
        panels = figure.subplots(1, 2, sharey=True)
        names = sorted(series, key=lambda name: -series[name][2][-1])
        for number, (panel, x_name) in enumerate(
            zip(panels, ("sequential steps", "cost, in gradient examples"), strict=True)
        ):
            panel.set_title(f"Front by {x_name}", loc="left", size=11)
            panel.set(xlabel=x_name)
            for index, values in enumerate(series.values()):
                x, scores = np.array([values[number], values[2]])
                kept = (x > 0) & np.isfinite(scores)
                marker = _MARKERS[index % 10] if kept.sum() == 1 else ""
                look = {"color": COLORS[index % 10], "linewidth": 1.6, "marker": marker}
                panel.plot(x[kept], scores[kept], linestyle=_dashes(index), **look)
            xs = np.concatenate([values[number] for values in series.values()])
            lowest, highest = xs[xs > 0].min(initial=1e9), xs.max(initial=1)
            _logarithmic(panel, "x", lowest / 1.1, highest * 1.1)
            if highest > 30 * lowest:  # room in a narrow panel for powers of ten alone
                panel.xaxis.set_major_locator(LogLocator(numticks=20))
            panel.set_ylim(0)
        panels[0].set_ylabel("log hypervolume, on the batch of a generation")
        lines = dict(zip(series, panels[1].get_lines(), strict=True))
        last = {name: series[name][2][-1] for name in names}
        _legend(panels[1], [lines[name] for name in names], names, last, ".3f", "last")


def _dashes(index: int) -> str:
    """Further series have the colours of the first ten, and other lines."""
    return "-" if index < 10 else "--"


def _positive(x: np.ndarray, loss: np.ndarray, above: float = 0) -> np.ndarray:
    """Points with positive finite loss and finite x > `above`, sorted by x, as [2, K]."""
    points = np.array([x, loss], np.float64)
    points = points[:, np.isfinite(points).all(axis=0) & (points[0] > above) & (points[1] > 0)]
    return points[:, np.lexsort(points[::-1])]


def _logarithmic(panel: Axes, name: str, low: float, high: float) -> None:
    """Make an axis logarithmic, with the ticks of a linear one if it is short."""
    panel.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis = panel.xaxis if name == "x" else panel.yaxis
    locator = LogLocator(subs=(1, 2, 5) if high < 2000 * low else (1,), numticks=20)
    axis.set_major_locator(MaxNLocator(5, **_TICKS) if high < 8 * low else locator)
    axis.set(major_formatter="{x:,.12g}", minor_formatter="")


def _legend(panel: Axes, handles: list, rows: list, values: Mapping, form: str, head: str) -> None:
    """Add a legend right of the panel, with an optional second column of `values` under `head`."""
    known = [format(values[row], form) if row in values else "" for row in rows]
    if any(known):
        blank = Line2D([], [], linestyle="")
        handles = [blank, *handles, *[blank] * (len(rows) + 1)]
        rows = ["", *rows, head, *known]
    look: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.015)}
    panel.legend(handles, rows, ncols=1 + any(known), labelspacing=0.6, columnspacing=-1.2, **look)
