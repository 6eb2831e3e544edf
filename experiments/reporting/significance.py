"""Significance of differences between methods, from runs with the same seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.95
_MIN_PAIRS = 6
"""Fewest pairs for Wilcoxon's test: with five, the smallest two-sided p-value is 0.0625."""


class Difference(NamedTuple):
    """The difference between two methods, over `pairs` seeds that both have.

    Attributes:
      low, high: 95 % confidence interval of the mean.
      p_value: of Wilcoxon's signed-rank test; None below six pairs or without any difference.
    """

    pairs: int
    mean: float
    low: float
    high: float
    p_value: float | None

    @property
    def significant(self) -> bool:
        """Significance by Wilcoxon's test or, without a p-value, by the interval."""
        if self.p_value is not None:
            return self.p_value < 1 - CONFIDENCE
        return not self.low <= 0 <= self.high


def difference(values: Mapping[int, float], others: Mapping[int, float]) -> Difference | None:
    """The mean difference between values by seed; None below two finite pairs.

    The interval is Student's t. A bootstrap interval is far too narrow for few pairs: with three,
    it excludes zero whenever all differences have the same sign, by chance in a quarter of cases.
    """
    from scipy import stats  # late, because the import takes half a second

    differences = np.array([values[seed] - others[seed] for seed in sorted({*values} & {*others})])
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return None
    mean, error = float(differences.mean()), float(stats.sem(differences))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    p_value = None
    if len(differences) >= _MIN_PAIRS and differences.any():
        tested: Any = stats.wilcoxon(differences)
        p_value = float(tested.pvalue)
    return Difference(len(differences), mean, mean - reach, mean + reach, p_value)


def rows(
    groups: Mapping[str, Sequence[Mapping[str, Any]]], measure: str, style: str
) -> list[list[str]]:
    """A table row for the difference of each later group from the first, where it is known.

    Each group holds summaries with a `seed` and the measure; `style` formats its values.
    """
    by_seed = {
        name: {row["seed"]: row[measure] for row in group if row.get(measure) is not None}
        for name, group in groups.items()
    }
    lines = []
    for name in [*by_seed][1:]:
        compared = difference(by_seed[name], by_seed[[*by_seed][0]])
        if compared:
            mean, low, high = (style.format(value) for value in compared[1:4])
            p_value = "-" if compared.p_value is None else f"{compared.p_value:.3f}"
            significant = "yes" if compared.significant else "no"
            lines.append(
                [name, str(compared.pairs), mean, f"{low} to {high}", p_value, significant]
            )
    return lines
