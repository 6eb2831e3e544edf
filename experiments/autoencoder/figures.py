"""Figures of an autoencoder, of its training and of comparisons."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.reporting.canvas import (
    BLUE,
    DARK,
    GREY,
    RED,
    Shape,
    canvas,
    draw_image,
    draw_text,
    to_images,
)

_MISTAKES = LinearSegmentedColormap.from_list("mistakes", ["#FFFFFF", "#F6C9A8", RED])
_COLORS = {"tanh": BLUE, "relu": RED}
_PANELS = (
    ("SVM accuracy on test images", "test_accuracy", "published_accuracy"),
    ("RMSE on test images", "test_rmse", "published_rmse"),
)


def reconstructions(
    path: Path,
    originals: np.ndarray,
    reconstructions: np.ndarray,
    shape: Shape,
    titles: Sequence[str] = (),
) -> None:
    """Draw images [K, H W C] above their reconstructions and RMSE, ten per row.

    Values are uint8 or in [0, 1]; `titles` are optional names of the K images.
    """
    above, below = to_images(originals, shape), to_images(reconstructions, shape)
    errors = np.sqrt(np.mean((above - below) ** 2, axis=(1, 2, 3)))
    columns = min(10, len(above))
    zoom = max(1, 112 // shape[0])
    tile_height, tile_width = shape[0] * zoom, shape[1] * zoom
    gap, left, head, line = 10, 170, 110 if titles else 80, 36
    block = 2 * tile_height + gap + 2 * line
    width = max(520, left + columns * (tile_width + gap) + 20)
    height = head - 24 + math.ceil(len(above) / columns) * block
    with canvas(path, width, height) as figure:
        draw_text(
            figure, 30, 22, "Images and their reconstructions", ha="left", size=11, weight="bold"
        )
        for index, (original, copy, error) in enumerate(zip(above, below, errors, strict=True)):
            x = left + index % columns * (tile_width + gap)
            y = head + index // columns * block
            second, foot = y + tile_height + gap, y + 2 * tile_height + gap + 8
            draw_image(figure, x, y, original, zoom)
            draw_image(figure, x, second, copy, zoom)
            if titles:
                draw_text(figure, x + tile_width / 2, y - 28, titles[index])
            draw_text(figure, x + tile_width / 2, foot, f"{error:.3f}", color=GREY)
            if index % columns == 0:
                labels = (y + tile_height / 2 - 9, "original"), (foot, "RMSE")
                for top, label in (*labels, (second + tile_height / 2 - 9, "reconstruction")):
                    draw_text(figure, left - 14, top, label, ha="right", color=GREY)


def pair(
    path: Path, original: np.ndarray, reconstruction: np.ndarray, shape: Shape, title: str
) -> None:
    """Draw an image [H W C] next to its reconstruction, without interpolation."""
    images = [to_images(image[None], shape)[0] for image in (original, reconstruction)]
    error = math.sqrt(np.mean((images[0] - images[1]) ** 2))
    zoom = max(1, 280 // shape[0])
    tile_height, tile_width = shape[0] * zoom, shape[1] * zoom
    margin, head = 30, 80
    step = max(tile_width, 280) + margin
    with canvas(path, 2 * step + margin, head + tile_height + 60) as figure:
        draw_text(figure, step + margin / 2, 24, title, size=11, weight="bold")
        captions = ("input", f"reconstruction, RMSE {error:.3f}")
        for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
            centre = index * step + (step + margin) / 2
            draw_image(figure, round(centre - tile_width / 2), head, image, zoom)
            draw_text(figure, centre, head + tile_height + 16, caption)


def filters(path: Path, kernel: np.ndarray, shape: Shape) -> None:
    """Draw up to 100 columns of largest norm of a first-layer kernel [H W C, K] as images."""
    order = np.argsort(-np.linalg.norm(kernel, axis=0), kind="stable")[:100]
    tiles = np.asarray(kernel, np.float64).T[order].reshape(-1, *shape)
    # One scale for all, with the few largest weights saturated so that others are visible.
    used = np.abs(tiles[tiles != 0])
    limit = float(np.percentile(used, 99.5)) if used.size else 1.0
    if shape[2] == 3:
        tiles = np.clip(0.5 + tiles / (2 * limit), 0, 1)
    else:
        tiles = colormaps["RdBu_r"](Normalize(-limit, limit)(tiles[..., 0]))[..., :3]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    zoom = max(1, 840 // (columns * shape[0]))
    gap, margin, head = 6, 30, 80
    step_y, step_x = shape[0] * zoom + gap, shape[1] * zoom + gap
    width = max(2 * margin + columns * step_x + 150, 640)
    with canvas(path, width, head + max(rows * step_y, 126) + margin) as figure:
        units = f"the {len(tiles)} units of largest norm" if kernel.shape[1] > 100 else "all units"
        title = f"First layer: weights of {units}"
        draw_text(figure, margin, 26, title, ha="left", size=11, weight="bold")
        for index, tile in enumerate(tiles):
            x, y = margin + index % columns * step_x, head + index // columns * step_y
            draw_image(figure, x, y, tile, zoom)
        across, down = figure.bbox.size
        tall = min(max(rows * step_y - gap, 120), 600)
        left, bottom = margin + columns * step_x + 24, down - head - tall
        bar = figure.add_axes((left / across, bottom / down, 20 / across, tall / down))
        colors = ScalarMappable(Normalize(-limit, limit), "gray" if shape[2] == 3 else "RdBu_r")
        figure.colorbar(colors, bar, label="weight")
        bar.yaxis.set_major_locator(MaxNLocator(5))
        bar.grid(False)


def learning_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the RMSE by generation, with one panel per phase.

    Phases of a single generation after the initial one share a panel, with bars from best to worst.
    Each row is a generation with phase, generation, best_rmse, median_rmse and worst_rmse.
    """
    phases = list(dict.fromkeys(str(row["phase"]) for row in rows))
    by_phase = {phase: [row for row in rows if str(row["phase"]) == phase] for phase in phases}
    short = {phase: by_phase[phase] for phase in phases if len(by_phase[phase]) <= 2}
    if len(short) > 1:
        phases = [phase for phase in phases if phase not in short]
    else:
        short = {}
    count = len(phases) + bool(short)
    columns = min(5, count)
    lines = math.ceil(count / columns)
    size = (max(560, 330 * columns), 110 + 350 * lines)
    with canvas(path, *size, layout="constrained") as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for panel in panels[count:]:
            panel.remove()
        if short:
            _short_phases(panels[0], short)
        for phase, panel in zip(phases, panels[bool(short) :], strict=False):
            _learning_curve(panel, by_phase[phase])
            panel.set(title=phase, xlabel="generation")
        for panel in panels[:count:columns]:
            panel.set_ylabel("RMSE")
        named = [panel.get_legend_handles_labels() for panel in panels[:count]]
        legend = {label: handle for pair in named for handle, label in zip(*pair, strict=True)}
        figure.legend(
            [*legend.values()], [*legend], loc="outside lower center", ncols=min(4, 2 * columns)
        )


def _short_phases(panel: Axes, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw best, median and worst of the last row of each phase, and the best of the first."""
    names = ("best_rmse", "median_rmse", "worst_rmse")
    best, median, worst = np.array(
        [[float(row[name]) for name in names] for *_, row in rows.values()]
    ).T
    places = np.arange(len(rows))
    known = best[np.isfinite(best)]
    roof = 10 * known.max() if known.size else 1.0  # diverged children do not set the scale
    panel.vlines(
        places,
        best,
        np.nan_to_num(worst, nan=roof, posinf=roof).clip(max=roof),
        color=BLUE,
        alpha=0.3,
        linewidth=6,
        label="best to worst",
    )
    panel.plot(places, median, "_", color=RED, ms=11, mew=2, label="median")
    before = [float(first["best_rmse"]) for first, *_ in rows.values()]
    panel.plot(places, before, "o", color=BLUE, mfc="white", ms=5, label="best before")
    panel.plot(places, best, "o", color=BLUE, ms=5, label="best")
    panel.set_xticks(places, list(rows), rotation=30 if len(rows) > 2 else 0)
    panel.set(title="phases of one generation", yscale="log", xmargin=0.1)
    panel.yaxis.set_major_formatter("{x:.3g}")
    panel.minorticks_off()
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _learning_curve(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw best, median and range of one phase, with limits from best and median."""
    names = ("generation", "best_rmse", "median_rmse", "worst_rmse")
    generation, best, median, worst = np.array([[float(row[n]) for n in names] for row in rows]).T
    finite = best[np.isfinite(best) & (best > 0)]
    lowest, highest = (finite.min(), finite.max()) if finite.size else (0.1, 1.0)
    # Untrained offspring can be worse by orders of magnitude; keep the best curve readable.
    ordinary = median[np.isfinite(median) & (median < 2 * highest)]
    highest = max(highest, ordinary.max(initial=0.0))
    bottom, top = lowest / 1.03, highest * 1.06
    roof = np.nan_to_num(worst, nan=top, posinf=top).clip(max=10 * top)
    marker = "o" if len(rows) == 1 else ""
    panel.fill_between(
        generation, best, roof, color=BLUE, alpha=0.13, linewidth=0, label="best to worst"
    )
    panel.plot(generation, median, "--", color=RED, marker=marker, linewidth=1, label="median")
    panel.plot(generation, best, color=BLUE, marker=marker, linewidth=1.8, label="best")
    panel.set_yscale("log")
    panel.set_ylim(bottom, top)
    if top < 8 * bottom:  # too few powers of ten for the ticks of a logarithmic axis
        panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    panel.yaxis.set_major_formatter("{x:.3g}")
    panel.minorticks_off()
    panel.margins(x=0.02)
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))


def confusion(
    path: Path, matrix: np.ndarray, title: str, names: Sequence[Any] | None = None
) -> None:
    """Draw a confusion matrix [true class, predicted class] with errors coloured.

    `names` are those of the classes, None for 0, 1, ... The side panel shows the error rate of each
    true class in percent.
    """
    matrix = np.asarray(matrix)
    classes = len(matrix)
    mistakes = matrix - np.diag(np.diag(matrix))
    totals = matrix.sum(axis=1)
    errors = 100 * mistakes.sum(axis=1) / np.maximum(totals, 1)
    with canvas(path, 1050, 860, layout="constrained") as figure:
        figure.suptitle(title)
        cells, bars = figure.subplots(1, 2, sharey=True, width_ratios=[5, 1])
        norm = PowerNorm(0.5, 0, max(1, mistakes.max()))  # single mistakes stay visible
        shown = np.ma.masked_array(mistakes, np.eye(classes, dtype=bool))
        cells.imshow(shown, cmap=_MISTAKES, norm=norm, aspect="auto")
        cells.set_facecolor("#F2F2F2")
        for true, predicted in np.argwhere(matrix):
            dark = true != predicted and norm(mistakes[true, predicted]) > 0.75
            color = GREY if true == predicted else "white" if dark else DARK
            count = f"{matrix[true, predicted]}"
            cells.text(predicted, true, count, ha="center", va="center", color=color)
        names = range(classes) if names is None else names
        cells.set_xticks(range(classes), names)
        cells.set_yticks(range(classes), names)
        cells.set(xlabel="predicted class", ylabel="true class")
        bars.barh(range(classes), errors, color=RED, height=0.6)
        for index, (error, total) in enumerate(zip(errors, totals, strict=True)):
            label = f" {error:.1f} %" if total else " no images"
            bars.text(error, index, label, va="center")
        bars.set(title="error", xticks=[], xlim=(0, 1.7 * max(errors.max(), 0.1)))
        for panel in (cells, bars):
            panel.grid(False)
            panel.spines[:].set_visible(False)
            panel.tick_params(length=0)


def features(path: Path, groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw accuracy and RMSE of each group of summaries, a dot per seed and a line for pca.

    Groups are drawn from top to bottom, coloured by activation.
    """
    names = [name for name in groups if name != "pca"]
    with canvas(path, 1600, 200 + 56 * max(len(names), 4), layout="constrained") as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for panel, (title, measure, published) in zip(panels, _PANELS, strict=True):
            panel.set_title(title, loc="left")
            panel.set_yticks(range(len(names)), names)
            panel.set_ylim(len(names) - 0.5, -0.5)
            if measure.endswith("accuracy"):
                panel.xaxis.set_major_formatter(PercentFormatter(1))
            for line, name in enumerate(names):
                color = _COLORS["relu" if "relu" in name else "tanh"]
                values = np.array([row.get(measure) for row in groups[name]], float)
                panel.plot(values, [line] * len(values), "o", color=color, ms=6, mec="white")
                value = groups[name][0].get(published)
                if value is not None:
                    panel.plot(value, line, "x", color=GREY, ms=6, mew=1.5)
            for value in np.array([row.get(measure) for row in groups.get("pca", ())], float):
                panel.axvline(value, color=DARK, linestyle=(0, (6, 4)), linewidth=0.9)
        handles = [
            Line2D([], [], marker="o", linestyle="", color=BLUE, mec="white", label="tanh"),
            Line2D([], [], marker="o", linestyle="", color=RED, mec="white", label="ReLU"),
            Line2D([], [], marker="x", linestyle="", color=GREY, mew=1.5, label="published"),
            Line2D([], [], color=DARK, linestyle=(0, (6, 4)), linewidth=0.9, label="PCA"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
