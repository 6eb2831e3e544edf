"""Figures of a history and of a front. matplotlib is imported where a figure is drawn."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from gajax.results import Front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED, DARK, GREY = "#0072B2", "#D55E00", "#333333", "#8A8A8A"
STYLE = {
    "axes.edgecolor": "#BBBBBB",
    "axes.grid": True,
    "axes.labelcolor": DARK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.1,  # inches
    "figure.constrained_layout.w_pad": 0.1,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.size": 8.5,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.color": DARK,
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": DARK,
    "ytick.color": GREY,
    "ytick.labelcolor": DARK,
}
"""Settings of matplotlib over its defaults."""

_DECADE = 10


def plot(
    shown: Mapping[str, Any] | Front, path: str | os.PathLike | None = None, ax: Any = None
) -> Any:
    """Draw the losses of a history by generation, or those of a front over its first objective.

    Of a history: the best loss, the median, and a band for the half of the population in the
    middle; losses that are not finite are left out. Of a front: its individuals, the one at the
    knee marked, and for two objectives a line at the lowest loss within reach. Axes are logarithmic
    where all values are positive and span more than a decade.

    Args:
      shown: `Fit.history` or what `gajax.front` gives.
      path: file to write too, in the format that its suffix names.
      ax: axes of matplotlib to draw into; None for those of a new figure in a style of its own. A
        display is not needed, and settings of matplotlib stay as they are.

    Returns the figure, `matplotlib.figure.Figure`.

    Raises:
      ValueError: where there is no finite loss, or losses of several seeds.
      ImportError: where matplotlib is missing.

    Example:
      >>> history = {"generation": np.array([0, 1]), "loss": np.array([[2.0, 3.0], [1.0, 2.5]])}
      >>> figure = gajax.plot(history)  # or gajax.plot(history, "history.png")
      >>> figure.axes[0].get_xlabel()
      'generation'
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("gajax.plot needs `pip install matplotlib`") from None
    loss = np.asarray((shown.objectives if isinstance(shown, Front) else shown)["loss"])
    if loss.ndim != 2 - isinstance(shown, Front):
        raise ValueError(f"the losses to draw must be of one seed, not of the form {loss.shape}")
    if not np.isfinite(loss).any():
        raise ValueError("there must be a finite loss to draw, not none")
    # "default" overrides the user's own settings.
    with nullcontext() if ax is not None else style.context(["default", STYLE]):
        if ax is None:
            ax = Figure(figsize=(6.4, 3.6), dpi=150, layout="constrained").subplots()
        if isinstance(shown, Front):
            _draw_front(ax, shown)
        else:
            _draw_history(ax, np.asarray(shown["generation"]), loss)
        if path is not None:
            ax.figure.savefig(path)
    return ax.figure


def _draw_history(ax: "Axes", generation: np.ndarray, loss: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    is_known = np.isfinite(loss).any(axis=1)
    generation, loss = generation[is_known], loss[is_known]
    loss = np.where(np.isfinite(loss), loss, np.nan)
    best, low, median, high = np.nanquantile(loss, [0, 0.25, 0.5, 0.75], axis=1)
    marker = "o" if len(loss) == 1 else ""
    if loss.shape[1] > 1:
        ax.fill_between(
            generation, low, high, color="#D9E8F2", linewidth=0, label="middle half of all"
        )
        label = f"median, last {median[-1]:.4g}"
        ax.plot(generation, median, marker=marker, color=GREY, linewidth=1.2, label=label)
    label = f"best, last {best[-1]:.4g}"
    ax.plot(generation, best, marker=marker, color=BLUE, linewidth=1.6, label=label)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0}
    ax.legend(**place, ncols=3, reverse=True)
    ax.set(xlabel="generation", ylabel="loss", xmargin=0.02)
    ax.xaxis.set_major_locator(
        MaxNLocator(8, integer=True, min_n_ticks=1, steps=(1, 2, 2.5, 5, 10))
    )
    ax.xaxis.set_major_formatter("{x:,.12g}")
    _scale(ax, "y", np.concatenate([best, high]))


def _draw_front(ax: "Axes", front: Front) -> None:
    name, loss = next(iter(front.objectives)), front.objectives["loss"]
    first, knee = front.objectives[name], front.knee()
    if len(front.objectives) == 2:
        ax.step(first, loss, color=BLUE, where="post", linewidth=1.2)
    ax.plot(first, loss, "o", color=BLUE, markersize=4.5, mec="white", mew=0.4)
    ax.plot(first[knee], loss[knee], "o", color="none", mec=RED, mew=1.2, markersize=9)
    ax.annotate("knee", (first[knee], loss[knee]), (6, 6), textcoords="offset points", color=RED)
    ax.set(xlabel=name, ylabel="loss")
    _scale(ax, "x", first)
    _scale(ax, "y", loss)


def _scale(ax: "Axes", name: str, values: np.ndarray) -> None:
    """Make an axis logarithmic where its values span more than a decade."""
    from matplotlib.ticker import LogLocator

    low, high = values.min(), values.max()
    axis = ax.xaxis if name == "x" else ax.yaxis
    if 0 < _DECADE * low < high:
        ax.set(**{f"{name}scale": "log"})
        subs = (1, 2, 5) if high < 1000 * low else (1,)
        axis.set(major_locator=LogLocator(subs=subs, numticks=20), minor_formatter="")
    axis.set_major_formatter("{x:,.12g}")
