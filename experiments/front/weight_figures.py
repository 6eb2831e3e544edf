"""Figures of the weights and reconstructions of sparse networks by generation."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.reporting.canvas import (
    BLUE,
    DARK,
    RED,
    Shape,
    canvas,
    draw_image,
    draw_text,
    to_images,
)

_LINES = 150
Snapshots = Mapping[int, np.ndarray]  # by generation

# Even the smallest weights are far from white, which marks zeros.
_TONES = [(0, "#08306B"), (0.5, "#A6CBE8"), (0.5, "#F7BC9A"), (1, "#7A2300")]
_SIGNED = LinearSegmentedColormap.from_list("signed", _TONES)


def mosaic(path: Path, kernels: Snapshots, shape: Shape) -> None:
    """Draw the nonzero weights of first-layer kernels [H W C, K] by generation.

    Shows up to four generations, including the first and last, with an image for each of up to 100
    units with the most nonzero weights. Several channels are reduced to the largest weight.
    """
    chosen = _chosen(kernels)
    total, side = next(iter(chosen.values())).shape[1], max(shape[:2])
    columns = min(math.ceil(math.sqrt(total)), 10, max(1, 560 // side))
    units, zoom = min(total, columns**2), max(1, 560 // (columns * side))
    tall, wide = shape[0] * zoom + 2, shape[1] * zoom + 2
    board = (math.ceil(units / columns) * tall + 2, columns * wide + 2, 3)
    # The scale covers 98 % of the weights of each panel; larger ones saturate.
    sizes = [np.abs(kernel[kernel != 0]) for kernel in chosen.values()]
    limit = max((float(np.percentile(size, 98)) for size in sizes if len(size)), default=1.0)
    across = 2 if len(chosen) == 4 else len(chosen)
    step_x, step_y = max(board[1] + 32, 300), board[0] + 64
    width, height = max(30 + across * step_x, 760), 160 + math.ceil(len(chosen) / across) * step_y
    with canvas(path, width, height) as figure:
        title = f"Nonzero weights of the {units} densest of {total} units"
        draw_text(figure, 30, 24, title, ha="left", size=11, weight="bold")
        for index, (generation, kernel) in enumerate(chosen.items()):
            densest = np.argsort(-np.count_nonzero(kernel, axis=0), kind="stable")[:units]
            maps = kernel[:, densest].T.reshape(units, *shape)
            maps = np.take_along_axis(maps, np.abs(maps).argmax(-1)[..., None], -1)[..., 0]
            colors = _SIGNED(Normalize(-limit, limit)(maps))[..., :3]
            colors[maps == 0] = 1
            x, y = 32 + index % across * step_x, 106 + index // across * step_y
            caption = f"generation {generation:,}, density {np.mean(kernel != 0):.3g}"
            draw_text(figure, x - 2, y - 28, caption, ha="left")
            draw_image(figure, x - 2, y - 2, np.full(board, 0.87), 1)
            for unit, tile in enumerate(colors):
                draw_image(
                    figure, x + unit % columns * wide, y + unit // columns * tall, tile, zoom
                )
        bar = figure.add_axes((30 / width, 56 / height, 260 / width, 14 / height))
        scale = ScalarMappable(Normalize(-limit, limit), _SIGNED)
        figure.colorbar(scale, bar, orientation="horizontal", ticks=MaxNLocator(5)).ax.grid(False)
        draw_text(figure, 310, height - 63, "weight; zeros are white", ha="left", va="center")


def connections(
    path: Path, kernels: Snapshots, name: str = "the first layer", inputs: str = "inputs"
) -> None:
    """Draw the weights of kernels [I, H] of a layer by generation as lines between units.

    Shows up to four generations, including the first and last, and the 150 largest weights of each,
    with opacity relative to the largest weight. Units on the right stand in the order of the mean
    place of their inputs, which lets few lines cross. `inputs` says what the I inputs are.
    """
    chosen = _chosen(kernels)
    with canvas(path, max(430 * len(chosen), 660), 900, layout="constrained") as figure:
        figure.suptitle(f"Largest weights of {name}")
        panels = figure.subplots(1, len(chosen), squeeze=False, subplot_kw={"frameon": False})[0]
        for panel, (generation, kernel) in zip(panels, chosen.items(), strict=True):
            units = np.nonzero(kernel)
            weights = kernel[units]
            order = np.argsort(np.abs(weights), kind="stable")[-_LINES:]  # the largest on top
            size = np.abs(weights[order]) / np.abs(weights).max(initial=1e-30)
            colors = np.where(weights[order, None] > 0, to_rgba(RED), to_rgba(BLUE))
            colors[:, 3] = 0.25 + 0.65 * size
            lines = np.zeros((len(order), 2, 2))  # [line, end, x or y]
            ends = units[0][order], units[1][order]
            for x, count in enumerate(kernel.shape):
                heights = (np.arange(count) + 0.5) / count
                if x == 1:
                    heights = heights[np.argsort(np.argsort(_mean_place(*ends, kernel.shape)))]
                lines[:, x, 0], lines[:, x, 1] = x, heights[units[x][order]]
                dots = np.where(np.isin(np.arange(count), ends[x]), DARK, "#DDDDDD")
                panel.scatter(np.full(count, x), heights, 3, dots, linewidths=0, zorder=3)
            panel.add_collection(LineCollection(list(lines), colors=colors, linewidths=0.9))
            title = f"generation {generation:,}\n{len(order):,} of {len(weights):,} weights drawn"
            panel.set(title=title, xlim=(-0.06, 1.06), ylim=(1.01, -0.01), xticks=(0, 1), yticks=())
            names = (f"{kernel.shape[0]:,}\n{inputs}", f"{kernel.shape[1]:,}\nunits")
            panel.set_xticklabels(names)
            panel.tick_params(length=0, grid_linewidth=0)
        handles = [Line2D([], [], color=color, linewidth=1.6) for color in (RED, BLUE)]
        figure.legend(handles, ("positive", "negative"), loc="outside lower center", ncols=2)


def _mean_place(sources: np.ndarray, targets: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mean input of each of H units, in [0, 1]; units without one keep their own place."""
    count = np.bincount(targets, minlength=shape[1])
    total = np.bincount(targets, (sources + 0.5) / shape[0], minlength=shape[1])
    own = (np.arange(shape[1]) + 0.5) / shape[1]
    return np.where(count > 0, total / np.maximum(count, 1), own)


def evolved_reconstructions(
    path: Path, originals: np.ndarray, copies: Snapshots, shape: Shape, labels: Sequence[str] = ()
) -> None:
    """Draw images [K, H W C] above their reconstructions [K, H W C] by generation, with RMSE.

    Values are uint8 or in [0, 1]; `labels` are optional names of the K images.
    """
    rows = {"original": to_images(originals, shape)}
    rows |= {f"generation {key:,}": to_images(copies[key], shape) for key in sorted(copies)}
    zoom = max(1, min(112 // shape[0], 1500 // (len(originals) * shape[1])))
    tall, wide, left, head = shape[0] * zoom, shape[1] * zoom + 10, 190, 100 if labels else 76
    width, height = max(600, left + len(originals) * wide + 20), head + len(rows) * (tall + 10) + 24
    with canvas(path, width, height) as figure:
        draw_text(
            figure, 30, 22, "Reconstructions by generation", ha="left", size=11, weight="bold"
        )
        for column, label in enumerate(labels):
            draw_text(figure, left + column * wide + (wide - 10) / 2, head - 28, label)
        for row, (name, images) in enumerate(rows.items()):
            y = head + row * (tall + 10) + (row > 0) * 8
            for column, image in enumerate(images):
                draw_image(figure, left + column * wide, y, image, zoom)
            error = math.sqrt(np.mean((rows["original"] - images) ** 2))
            text = f"{name}\nRMSE {error:.3f}" if row else name
            draw_text(figure, left - 16, y + tall / 2, text, ha="right", va="center")


def _chosen(kernels: Snapshots) -> dict[int, np.ndarray]:
    """Select up to four generations and replace non-finite values in their kernels."""
    which = np.linspace(0, len(kernels) - 1, min(4, len(kernels))).round().astype(int)
    keys = np.array(sorted(kernels))[which].tolist()
    return {key: np.nan_to_num(kernels[key], posinf=0, neginf=0) for key in keys}
