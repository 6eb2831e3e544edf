"""Pictures of comparisons: what each method reaches, beside what was published."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from experiments.figures import _BLUE, _DARK, _GREY, _RED, _canvas

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
