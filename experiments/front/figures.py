"""Pictures of fronts of density against loss, and of where the weights of sparse networks are."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from experiments.reporting.figures import (
    _BLUE,
    _DARK,
    _GREY,
    _RED,
    Shape,
    _canvas,
    _images,
    _place,
    _write,
)

Curve = tuple[np.ndarray, np.ndarray]
Snapshots = Mapping[int, np.ndarray]  # by generation

COLORS = f"{_BLUE} {_RED} #009E73 #CC79A7 #E69F00 #56B4E9 #000000 #882255 #999933 #4B3B9B".split()
_MARKERS, _GREY_MARKERS = "osD^vp<h>d", "x+12s^vd*p"
_TICKS = {"steps": (1, 2, 2.5, 5, 10), "min_n_ticks": 1}
# The smallest weight is far from white already, so that none can be taken for a zero.
_TONES = [(0, "#08306B"), (0.5, "#A6CBE8"), (0.5, "#F7BC9A"), (1, "#7A2300")]
_SIGNED = LinearSegmentedColormap.from_list("signed", _TONES)


def fronts(
    path: Path,
    fronts: Mapping[str, Curve],
    *,
    loss_name: str,
    zero_loss: float,
    published: Mapping[str, Curve] | None = None,
    scores: Mapping[str, float] | None = None,
    title: str = "What each method offers: loss against density",
) -> None:
    """Draw fronts, each a density [K] and a loss [K], with what they attain as a staircase.

    `zero_loss` is that of the network of zeros; `published` fronts are grey and in the legend as
    "published " and their key; `scores` has log hypervolumes by the names in the legend. Points of
    zero density or without a positive finite loss are left out; a note counts those out of view.
    """
    series = {**fronts, **{f"published {name}": front for name, front in (published or {}).items()}}
    drawn = {name: _positive(*front) for name, front in series.items()}
    points = np.concatenate([np.zeros((2, 0)), *drawn.values()], axis=1)
    widths = points[0][points[1] < 0.9 * zero_loss]
    left, right = widths.min(initial=0.1) / 1.3, points[0].max(initial=0.1) * 1.3
    bottom, top = min(points[1].min(initial=zero_loss) / 1.4, zero_loss / 3), 1.7 * zero_loss
    outside = np.count_nonzero((points[0] < left) | (points[1] > top))
    with _canvas(path, 1600, 860, layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title(title, loc="left", size=11)
        panel.set(xlabel="density (share of weights that are not zero)", ylabel=loss_name)
        handles = []
        for index, (density, loss) in enumerate(drawn.values()):
            own, several = index < len(fronts), len(loss) > 1
            color = COLORS[index % 10] if own else "#8F8F8F"
            marker = _MARKERS[index % 10] if own else _GREY_MARKERS[(index - len(fronts)) % 10]
            line = panel.step(density, np.minimum.accumulate(loss), color, where="post")[0]
            line.set(linewidth=1.5 * (own and several), zorder=2.2)
            dots = panel.plot(density, loss, marker, color=color, ms=4.5)[0]
            if own:
                dots.set(mec="white", mew=0.4, ms=4.5 if several else 7, zorder=2.3)
            handles.append((line, dots))
        panel.axhline(zero_loss, color=_DARK, linestyle=(0, (6, 4)), linewidth=0.8, zorder=1.8)
        beside: dict[str, Any] = {"ha": "right", "transform": panel.get_yaxis_transform()}
        panel.text(0.99, zero_loss * 1.04, "all-zero network", **beside)
        note = f"points out of view (less than 10 % better than all-zero): {outside}"
        panel.text(0.99, zero_loss * 1.45, note if outside else "", color=_GREY, size=7, **beside)
        _logarithmic(panel, "x", left, right)
        _logarithmic(panel, "y", bottom, top)
        _legend(panel, handles, [*drawn], scores or {}, ".3f", "log hypervolume")


def decline(path: Path, series: Mapping[str, Curve], *, x_name: str, loss_name: str) -> None:
    """Draw the loss of the best, each an x [T] and a loss [T], over the cost or the generation.

    The legend runs from the highest to the lowest last loss. The x axis is logarithmic, and points
    at x = 0 left out, where the largest x is over 100 times the smallest positive one.
    """
    drawn = {name: _positive(*curve, above=-1) for name, curve in series.items()}
    xs, losses = np.concatenate([np.zeros((2, 0)), *drawn.values()], axis=1)
    lowest, highest = xs[xs > 0].min(initial=math.inf), xs.max(initial=0)
    # A method that diverges must not flatten all others.
    starts = [values[1, 0] for values in drawn.values() if values.size]
    roof = min(losses.max(), 10 * np.median(starts)) if starts else 1.0
    last = {name: values[1, -1] for name, values in drawn.items() if values.size}
    with _canvas(path, 1600, 760, layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title(f"Loss of the best network by {x_name}", loc="left", size=11)
        panel.set(xlabel=x_name, ylabel=loss_name, xmargin=0.02)
        lines = {}
        for index, (name, values) in enumerate(drawn.items()):
            x, loss = values[:, values[0] > 0] if highest > 100 * lowest else values
            lines[name] = panel.plot(x, loss, color=COLORS[index % 10], linewidth=1.6)[0]
            lines[name].set_marker(_MARKERS[index % 10] if len(x) == 1 else "")
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=not 0 < highest < 8, **_TICKS))
        panel.xaxis.set_major_formatter("{x:,.12g}")
        if highest > 100 * lowest:
            _logarithmic(panel, "x", lowest / 1.1, highest * 1.1)
        _logarithmic(panel, "y", losses.min(initial=roof) / 1.2, roof * 1.2)
        names = sorted(drawn, key=lambda name: -last.get(name, 0))
        _legend(panel, [lines[name] for name in names], names, last, "#.3g", "last loss")


def hypervolumes(path: Path, generations: np.ndarray, values: np.ndarray) -> None:
    """Draw the log hypervolume [T], from 0 to 1 and more is better, of the generations [T]."""
    generations, values = np.array([generations, values])[:, np.isfinite(values)]
    top = 1.15 * values.max(initial=0.01)
    with _canvas(path, 1000, 650, layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title("Log hypervolume of the front by generation", loc="left", size=11)
        panel.plot(generations, values, "-" if len(values) > 1 else "o", color=_BLUE, clip_on=False)
        for x, value in zip(generations[-1:], values[-1:], strict=True):
            panel.text(x, value + top / 40, f"{value:.3f}", color=_BLUE, ha="right", weight="bold")
        panel.set(xlabel="generation", ylabel="log hypervolume", ylim=(0, top), xmargin=0.02)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, **_TICKS))


def mosaic(path: Path, kernels: Snapshots, shape: Shape) -> None:
    """Draw where the weights of first-layer kernels [H W C, K], by generation, are not zero.

    At most four generations, first and last among them, each the up to 100 units with most nonzero
    weights, an image each: zeros white, one scale for all; of several channels the largest weight.
    """
    chosen = _chosen(kernels)
    total, side = next(iter(chosen.values())).shape[1], max(shape[:2])
    columns = min(math.ceil(math.sqrt(total)), 10, max(1, 560 // side))
    units, zoom = min(total, columns**2), max(1, 560 // (columns * side))
    tall, wide = shape[0] * zoom + 2, shape[1] * zoom + 2
    board = (math.ceil(units / columns) * tall + 2, columns * wide + 2, 3)
    # No panel's ordinary weights lie beyond the scale; the few largest may saturate.
    sizes = [np.abs(kernel[kernel != 0]) for kernel in chosen.values()]
    limit = max((float(np.percentile(size, 98)) for size in sizes if len(size)), default=1.0)
    across = 2 if len(chosen) == 4 else len(chosen)
    step_x, step_y = max(board[1] + 32, 300), board[0] + 64
    width, height = max(30 + across * step_x, 760), 160 + math.ceil(len(chosen) / across) * step_y
    with _canvas(path, width, height) as figure:
        title = f"Where the weights are: the {units} fullest of {total} units"
        _write(figure, 30, 24, title, ha="left", size=11, weight="bold")
        for index, (generation, kernel) in enumerate(chosen.items()):
            busy = np.argsort(-np.count_nonzero(kernel, axis=0), kind="stable")[:units]
            maps = kernel[:, busy].T.reshape(units, *shape)
            maps = np.take_along_axis(maps, np.abs(maps).argmax(-1)[..., None], -1)[..., 0]
            colors = _SIGNED(Normalize(-limit, limit)(maps))[..., :3]
            colors[maps == 0] = 1
            x, y = 32 + index % across * step_x, 106 + index // across * step_y
            caption = f"generation {generation:,}, density {np.mean(kernel != 0):.3g}"
            _write(figure, x - 2, y - 28, caption, ha="left")
            _place(figure, x - 2, y - 2, np.full(board, 0.87), 1)
            for unit, tile in enumerate(colors):
                _place(figure, x + unit % columns * wide, y + unit // columns * tall, tile, zoom)
        bar = figure.add_axes((30 / width, 56 / height, 260 / width, 14 / height))
        scale = ScalarMappable(Normalize(-limit, limit), _SIGNED)
        figure.colorbar(scale, bar, orientation="horizontal", ticks=MaxNLocator(5)).ax.grid(False)
        _write(figure, 310, height - 63, "weight; zeros are white", ha="left", va="center")


def connections(path: Path, kernels: Snapshots) -> None:
    """Draw the weights of first-layer kernels [I, H], by generation, as lines between units.

    At most four generations, first and last among them, and the 2,000 largest weights of each; a
    weight is the more opaque the larger it is beside the largest of its generation.
    """
    chosen = _chosen(kernels)
    with _canvas(path, max(430 * len(chosen), 660), 900, layout="constrained") as figure:
        figure.suptitle("Connections from the inputs to the hidden units")
        panels = figure.subplots(1, len(chosen), squeeze=False, subplot_kw={"frameon": False})[0]
        for panel, (generation, kernel) in zip(panels, chosen.items(), strict=True):
            units = np.nonzero(kernel)
            weights = kernel[units]
            order = np.argsort(np.abs(weights), kind="stable")[-2000:]  # the largest on top
            size = np.abs(weights[order]) / np.abs(weights).max(initial=1e-30)
            colors = np.where(weights[order, None] > 0, to_rgba(_RED), to_rgba(_BLUE))
            colors[:, 3] = min(0.9, 800 / max(len(order), 1)) * (0.1 + 0.9 * size**2)
            lines = np.zeros((len(order), 2, 2))  # [line, end, x or y]
            for x, count in enumerate(kernel.shape):
                heights = (np.arange(count) + 0.5) / count
                lines[:, x, 0], lines[:, x, 1] = x, heights[units[x][order]]
                dots = np.where(np.isin(np.arange(count), units[x]), _DARK, "#DDDDDD")
                panel.scatter(np.full(count, x), heights, 3, dots, linewidths=0, zorder=3)
            panel.add_collection(LineCollection(list(lines), colors=colors, linewidths=0.6))
            title = f"generation {generation:,}\n{len(order):,} of {len(weights):,} weights drawn"
            panel.set(title=title, xlim=(-0.06, 1.06), ylim=(1.01, -0.01), xticks=(0, 1), yticks=())
            names = (f"{kernel.shape[0]:,}\ninputs", f"{kernel.shape[1]:,}\nhidden units")
            panel.set_xticklabels(names)
            panel.tick_params(length=0, grid_linewidth=0)
        handles = [Line2D([], [], color=color, linewidth=1.6) for color in (_RED, _BLUE)]
        figure.legend(handles, ("positive", "negative"), loc="outside lower center", ncols=2)


def evolved_reconstructions(
    path: Path, originals: np.ndarray, copies: Snapshots, shape: Shape, labels: Sequence[str] = ()
) -> None:
    """Draw images [K, H W C] over their reconstructions [K, H W C] by generation, with each RMSE.

    Values are uint8 or from 0 to 1; `labels` are the K names over the originals, if any.
    """
    rows = {"original": _images(originals, shape)}
    rows |= {f"generation {key:,}": _images(copies[key], shape) for key in sorted(copies)}
    zoom = max(1, min(112 // shape[0], 1500 // (len(originals) * shape[1])))
    tall, wide, left, head = shape[0] * zoom, shape[1] * zoom + 10, 190, 100 if labels else 76
    width, height = max(600, left + len(originals) * wide + 20), head + len(rows) * (tall + 10) + 24
    with _canvas(path, width, height) as figure:
        _write(figure, 30, 22, "Reconstructions by generation", ha="left", size=11, weight="bold")
        for column, label in enumerate(labels):
            _write(figure, left + column * wide + (wide - 10) / 2, head - 28, label)
        for row, (name, images) in enumerate(rows.items()):
            y = head + row * (tall + 10) + (row > 0) * 8
            for column, image in enumerate(images):
                _place(figure, left + column * wide, y, image, zoom)
            error = math.sqrt(np.mean((rows["original"] - images) ** 2))
            text = f"{name}\nRMSE {error:.3f}" if row else name
            _write(figure, left - 16, y + tall / 2, text, ha="right", va="center")


def _positive(x: np.ndarray, loss: np.ndarray, above: float = 0) -> np.ndarray:
    """The points of positive finite loss and of finite x over `above` as [2, K], by rising x."""
    points = np.array([x, loss], np.float64)
    points = points[:, np.isfinite(points).all(axis=0) & (points[0] > above) & (points[1] > 0)]
    return points[:, np.lexsort(points[::-1])]


def _chosen(kernels: Snapshots) -> dict[int, np.ndarray]:
    """Up to four generations and their kernels, without what is not finite."""
    which = np.linspace(0, len(kernels) - 1, min(4, len(kernels))).round().astype(int)
    keys = np.array(sorted(kernels))[which].tolist()
    return {key: np.nan_to_num(kernels[key], posinf=0, neginf=0) for key in keys}


def _logarithmic(panel: Axes, name: str, low: float, high: float) -> None:
    """Make an axis logarithmic; where it is short, with the ticks of a linear one."""
    panel.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis = panel.xaxis if name == "x" else panel.yaxis
    locator = LogLocator(subs=(1, 2, 5) if high < 2000 * low else (1,), numticks=20)
    axis.set_major_locator(MaxNLocator(5, **_TICKS) if high < 8 * low else locator)
    axis.set(major_formatter="{x:,.12g}", minor_formatter="")


def _legend(panel: Axes, handles: list, rows: list, values: Mapping, form: str, head: str) -> None:
    """A legend right of the panel with a second column of `values`, if any, under `head`."""
    known = [format(values[row], form) if row in values else "" for row in rows]
    if any(known):
        blank = Line2D([], [], linestyle="")
        handles = [blank, *handles, *[blank] * (len(rows) + 1)]
        rows = ["", *rows, head, *known]
    look: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.015)}
    panel.legend(handles, rows, ncols=1 + any(known), labelspacing=0.6, columnspacing=-1.2, **look)
