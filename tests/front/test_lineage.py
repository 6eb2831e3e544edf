"""A front of one network that becomes sparse and of the ladder of its descendants."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from small_runs import few

from experiments import gemonn
from experiments.datasets.catalog import load
from experiments.front import lineage, training
from experiments.front.checks import check
from experiments.running.cli import InputError

CONFIG = gemonn.Config(
    hidden=(8,), population_size=3, batch_size=25, refine_steps=3, lineage=0.5, budget=2e4
)

ONES = len(lineage.DENSITIES)
"""Individuals that are the one network at a density."""


@pytest.fixture(scope="module")
def watched():
    """Every step of a run, and its results."""
    steps = []
    dataset = few(load("mnist5k"))

    def keep(step, zero_loss):
        steps.append((jax.device_get(step.params) if step.info.done else None, step))

    return steps, training.train(CONFIG, dataset=dataset, on_step=keep)


def test_the_budget_is_shared_and_not_exceeded(watched):
    steps, results = watched
    spent = np.cumsum([step.info.gradient_examples for _, step in steps])
    first = next(i for i, (_, step) in enumerate(steps) if len(step.density) > ONES)
    assert spent[first - 1] == 0.5 * CONFIG.budget // 6 * 6  # a quarter of the batch size
    assert 0.9 * CONFIG.budget < results.summary["cost"] <= CONFIG.budget


def test_the_front_has_the_network_at_each_density_and_its_descendants(watched):
    steps, results = watched
    done = [(params, step) for params, step in steps if step.info.done]
    generations = [int(step.info.generation) for _, step in done]
    assert generations == sorted(set(generations)), "generations go on"
    before = [params for params, step in done if len(step.density) == ONES][-1]
    after, last = done[-1]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:ONES]), before, after)
    weights = [(kernel != 0).mean() for kernel in after["blocks_0"]["kernel"]]
    np.testing.assert_allclose(weights[:ONES], [*lineage.DENSITIES], atol=1e-3)
    ladder = np.geomspace(0.016, 0.0015, 3)
    assert (np.array(weights[ONES:]) <= ladder + 1e-3).all()
    assert len(last.info.loss) == len(last.density) == ONES + 3
    assert len(results.members.density) == ONES + 3


def test_a_ladder_descends_from_the_last_network(watched):
    """Weights that are not among the last network's have grown since, as a share of .05."""
    after = [params for params, step in watched[0] if step.info.done][-1]
    last, *others = np.asarray(after["blocks_0"]["kernel"])[ONES - 1 :]
    for kernel in others:
        assert (last != 0)[kernel != 0].mean() > 0.7


def test_only_a_ladder_with_a_budget_has_a_lineage():
    for change in ({"method": "gemonn"}, {"budget": None}, {"lineage": 1.0}):
        with pytest.raises(InputError, match="--lineage must be"):
            check(replace(CONFIG, **change))


def test_the_method_with_a_lineage_gives_it_a_share_of_the_budget():
    config = check(gemonn.Config(method="ladder-lineage"))
    assert (config.lineage, config.highest_density) == (0.3, 0.016)
    assert check(gemonn.Config(lineage=0.3)) == replace(config, method="ladder")
    assert check(gemonn.Config(method="ladder-lineage", lineage=0.5)).lineage == 0.5
    assert check(gemonn.Config(method="gemonn")).lineage == check(gemonn.Config()).lineage == 0
