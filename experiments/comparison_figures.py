"""Pictures of comparisons: what each method reaches, beside what was published."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from experiments.figures import _BLUE, _DARK, _GREY, _RED, _canvas
from experiments.front_figures import COLORS

_COLORS = {"tanh": _BLUE, "relu": _RED}
_PANELS = (
    ("SVM accuracy on test images", "test_accuracy", "published_accuracy"),
    ("RMSE on test images", "test_rmse", "published_rmse"),
)


def features(path: Path, groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw accuracy and RMSE of every group of summaries, a dot for each seed, a line through pca.

    Names of groups are in the order from top to bottom; the colour is that of their activation.
    """
    names = [name for name in groups if name != "pca"]
    with _canvas(path, 1600, 200 + 56 * max(len(names), 4), layout="constrained") as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for panel, (title, measure, published) in zip(panels, _PANELS, strict=True):
            panel.set_title(title, loc="left")
            panel.set_yticks(range(len(names)), names)
            panel.set_ylim(len(names) - 0.5, -0.5)
            if measure.endswith("accuracy"):
                panel.xaxis.set_major_formatter(PercentFormatter(1))
            for place, name in enumerate(names):
                color = _COLORS["relu" if "relu" in name else "tanh"]
                values = np.array([row.get(measure) for row in groups[name]], float)
                panel.plot(values, [place] * len(values), "o", color=color, ms=6, mec="white")
                value = groups[name][0].get(published)
                if value is not None:
                    panel.plot(value, place, "x", color=_GREY, ms=6, mew=1.5)
            for value in np.array([row.get(measure) for row in groups.get("pca", ())], float):
                panel.axvline(value, color=_DARK, linestyle=(0, (6, 4)), linewidth=0.9)
        handles = [
            Line2D([], [], marker="o", linestyle="", color=_BLUE, mec="white", label="tanh"),
            Line2D([], [], marker="o", linestyle="", color=_RED, mec="white", label="ReLU"),
            Line2D([], [], marker="x", linestyle="", color=_GREY, mew=1.5, label="published"),
            Line2D([], [], color=_DARK, linestyle=(0, (6, 4)), linewidth=0.9, label="PCA"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)


def accuracies(
    path: Path,
    means: Mapping[str, Mapping[str, float]],
    published: Mapping[str, Mapping[str, float]],
    datasets: Sequence[str],
) -> None:
    """Draw accuracies by method and data set, a line of dots for each set.

    Published ones are hollow in the colour of their method; a method and its variants, named by a
    comma behind it, share a colour, and the variants have another form.
    """
    stems = [*dict.fromkeys(name.partition(",")[0] for name in means)]
    with _canvas(path, 1600, 240 + 72 * max(len(datasets), 3), layout="constrained") as figure:
        panel = figure.subplots()
        panel.set_title("Test accuracy of a classifier on each encoder", loc="left", size=11)
        panel.set_yticks(range(len(datasets)), datasets)
        panel.set_ylim(len(datasets) - 0.5, -0.5)
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        handles = []
        for name, values in means.items():
            stem, comma, _ = name.partition(",")
            style: Any = {
                "color": COLORS[stems.index(stem) % len(COLORS)],
                "marker": "D" if comma else "o",
                "linestyle": "",
                "ms": 6,
            }
            # A little apart, for methods are often level.
            shift = 0.5 * ((stems.index(stem) + 0.5) / len(stems) - 0.5)
            places = [place + shift for place, one in enumerate(datasets) if one in values]
            found = [values[one] for one in datasets if one in values]
            handles += panel.plot(found, places, mec="white", label=name, **style)
            if not comma and stem in published:
                known = [(published[stem].get(one), place) for place, one in enumerate(datasets)]
                points = [(value, place + shift) for value, place in known if value is not None]
                panel.plot(*zip(*points, strict=True), mfc="none", **style)
        hollow = Line2D([], [], marker="o", linestyle="", color=_GREY, mfc="none")
        hollow.set_label("published")
        figure.legend(handles=[*handles, hollow], loc="outside lower center", ncols=5)
