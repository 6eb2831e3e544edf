"""Differences between methods, and which of them hold."""

import math

import numpy as np
import pytest

from experiments.reporting import significance
from experiments.reporting.tables import write_tables


def by_seed(values):
    return dict(enumerate(values))


def test_a_difference_worked_out_by_hand():
    """Of 1, 2, 3: mean 2, deviation 1, error 1 / sqrt(3); the quantile of t is 4.303."""
    told = significance.difference(by_seed([2, 4, 6]), by_seed([1, 2, 3]))
    assert told.pairs == 3 and told.mean == 2 and told.p_value is None
    assert (told.low, told.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), 1e-4)
    assert not told.significant


def test_only_seeds_of_both_that_are_finite_are_pairs():
    told = significance.difference(
        {0: 1.0, 1: 5.0, 2: 3.0, 3: math.nan, 4: 9.0}, {1: 1, 2: 1, 3: 1, 7: 0}
    )
    assert told.pairs == 2 and told.mean == 3
    assert significance.difference({0: 1.0, 1: math.inf}, {0: 0.0, 1: 0.0}) is None
    assert significance.difference({0: 1.0}, {0: 0.0, 1: 0.0}) is None


def test_the_smallest_p_of_six_pairs_is_one_of_all_signs():
    told = significance.difference(by_seed(np.arange(1.0, 7)), by_seed(np.zeros(6)))
    assert told.p_value == pytest.approx(2 / 2**6) and told.significant
    assert significance.difference(by_seed(np.arange(1.0, 6)), by_seed(np.zeros(5))).p_value is None


def test_no_difference_at_all_does_not_hold():
    for count in (3, 8):
        told = significance.difference(by_seed(np.ones(count)), by_seed(np.ones(count)))
        assert (
            told.mean == told.low == told.high == 0
            and told.p_value is None
            and not told.significant
        )


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_chance_alone_rarely_holds(count):
    random = np.random.RandomState(0)
    draws = random.normal(size=(1_000, count))
    held = [
        significance.difference(by_seed(draw), by_seed(np.zeros(count))).significant
        for draw in draws
    ]
    assert 0.02 < np.mean(held) < 0.07


def test_the_table_of_all_has_a_second_one_of_differences(tmp_path):
    groups = {
        "first": [{"seed": seed, "x": float(seed)} for seed in range(3)],
        "more": [{"seed": seed, "x": seed + 1 + 0.01 * seed} for seed in range(3)],
        "lone": [{"seed": 0, "x": 9.0}],
    }
    views = write_tables(
        {"": groups}, {"x": ("score", "{:.2f}"), "y": ("other", "{:.1f}")}, tmp_path
    )
    assert len(views) == 2
    _, below = (tmp_path / "compare.md").read_text().split("\n\n")
    assert below.splitlines() == [
        "| method | pairs | score, difference from first | 95 % interval | Wilcoxon's p "
        "| significant |",
        "| --- | --- | --- | --- | --- | --- |",
        "| more | 3 | 1.01 | 0.99 to 1.03 | - | yes |",
    ]
