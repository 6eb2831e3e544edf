"""Pictures of comparisons: what each method reaches, beside what was published."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.reporting.figures import _BLUE, _DARK, _GREY, _RED, _canvas

_COLUMNS = 3
_SPAN = 0.2
"""Of accuracies in a panel."""
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
    reference: str,
) -> None:
    """Draw accuracies, a panel for each data set and a dot for each method.

    Published ones are hollow, and a line goes through that of `reference`. A panel shows what is
    near its best; what is far below stands at its left edge as a number.
    """
    names = [*means]
    lines = -(-len(datasets) // _COLUMNS)
    height = 100 + lines * (90 + 30 * len(names))
    with _canvas(path, 1600, height, layout="constrained") as figure:
        figure.suptitle("Test accuracy of a classifier on each encoder", weight="bold", size=11)
        panels = figure.subplots(lines, _COLUMNS, squeeze=False, sharey=True)
        for panel, dataset in zip(panels.ravel(), datasets, strict=False):
            panel.set_title(dataset, loc="left")
            panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
            own = {name: values[dataset] for name, values in means.items() if dataset in values}
            known = {name: published.get(name, {}).get(dataset) for name in own}
            shown = [*own.values(), *(value for value in known.values() if value is not None)]
            low, high = max(min(shown), max(shown) - _SPAN), max(shown)
            margin = 0.06 * max(high - low, 0.01)
            left = low - margin - 0.4 * (high - low) * (min(shown) < low)  # room for numbers
            panel.set_xlim(left, high + margin)
            if reference in own:
                panel.axvline(own[reference], color=_DARK, linestyle=(0, (6, 4)), linewidth=0.9)
            for name, value in own.items():
                place = names.index(name)
                color = _BLUE if name.partition(",")[0] == names[0].partition(",")[0] else _DARK
                far = ""
                for sign, face, number in (("●", color, value), ("○", "none", known[name])):
                    if number is not None and number < low:
                        far += f" {sign} {number:.0%}"
                    elif number is not None:
                        panel.plot(number, place, "o", mfc=face, color=color, ms=6)
                if far:
                    panel.text(left, place, f" ◂{far}", color=color, size=7, va="center")
        panels[0, 0].set_yticks(range(len(names)), names)
        panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
        for panel in panels.ravel()[len(datasets) :]:
            panel.remove()
        handles = [
            Line2D([], [], marker="o", linestyle="", color=_DARK, label="here"),
            Line2D([], [], marker="o", linestyle="", color=_DARK, mfc="none", label="published"),
            Line2D([], [], color=_DARK, linestyle=(0, (6, 4)), linewidth=0.9, label=reference),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
