"""The figure of `classify`: the accuracy of each method and the published ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.reporting.canvas import BLUE, DARK, canvas

_COLUMNS = 3
_SPAN = 0.2
"""Largest range of accuracies in a panel."""


def accuracies(
    path: Path,
    means: Mapping[str, Mapping[str, float]],
    published: Mapping[str, Mapping[str, float]],
    datasets: Sequence[str],
    reference: str,
    deviations: Mapping[str, Mapping[str, float]],
) -> None:
    """Draw accuracies, with a panel per data set and a dot per method.

    Bars span the `deviations` on both sides, where there are any.
    Published accuracies are hollow, and a line marks that of `reference`. Values far below the
    best of a panel are printed at its left edge.
    """
    names = [*means]
    lines = -(-len(datasets) // _COLUMNS)
    height = 100 + lines * (90 + 30 * len(names))
    with canvas(path, 1600, height, layout="constrained") as figure:
        figure.suptitle("Test accuracy of a classifier on each encoder", weight="bold", size=11)
        panels = figure.subplots(lines, _COLUMNS, squeeze=False, sharey=True)
        for panel, dataset in zip(panels.ravel(), datasets, strict=False):
            panel.set_title(dataset, loc="left")
            panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
            ours = {name: values[dataset] for name, values in means.items() if dataset in values}
            known = {name: published.get(name, {}).get(dataset) for name in ours}
            spreads = {name: deviations.get(name, {}).get(dataset, 0.0) for name in ours}
            ends = [ours[name] + sign * spreads[name] for name in ours for sign in (-1, 1)]
            shown = [*ends, *(value for value in known.values() if value is not None)]
            low, high = max(min(shown), max(shown) - _SPAN), max(shown)
            margin = 0.06 * max(high - low, 0.01)
            left = low - margin - 0.4 * (high - low) * (min(shown) < low)  # room for numbers
            panel.set_xlim(left, high + margin)
            if reference in ours:
                panel.axvline(ours[reference], color=DARK, linestyle=(0, (6, 4)), linewidth=0.9)
            for name, value in ours.items():
                row = names.index(name)
                color = BLUE if name.partition(",")[0] == names[0].partition(",")[0] else DARK
                far = ""
                spread = deviations.get(name, {}).get(dataset)
                if spread and value >= low:
                    panel.errorbar(value, row, xerr=spread, color=color, capsize=3, linewidth=1)
                for sign, face, number in (("●", color, value), ("○", "none", known[name])):
                    if number is not None and number < low:
                        far += f" {sign} {number:.0%}"
                    elif number is not None:
                        panel.plot(number, row, "o", mfc=face, color=color, ms=6)
                if far:
                    panel.text(left, row, f" ◂{far}", color=color, size=7, va="center")
        panels[0, 0].set_yticks(range(len(names)), names)
        panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
        for panel in panels.ravel()[len(datasets) :]:
            panel.remove()
        ours = "here, ± standard deviation"
        handles = [
            Line2D([], [], marker="o", linestyle="", color=DARK, label=ours),
            Line2D([], [], marker="o", linestyle="", color=DARK, mfc="none", label="published"),
            Line2D([], [], color=DARK, linestyle=(0, (6, 4)), linewidth=0.9, label=reference),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
