"""The rivals of evolution as runs see them: their steps, their costs, and where they go on from."""

import itertools
import json
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from experiments import gemonn
from experiments.front import baselines, lineage, networks
from experiments.front.checks import check
from experiments.running import steps
from experiments.running.checkpoints import Checkpoint

BATCH = 8
BATCHES = 62
WEIGHTS, BIASES = 36 * 16, 16
GENES = WEIGHTS + BIASES
"""Biases are never pruned, but count in the density of a network."""
DENSITIES = {"pruning": 13, "regrowth": 12}
METHODS = {
    "pruning": partial(baselines.pruning, regrowth=False, optimizer=optax.adam(1e-3)),
    "regrowth": partial(baselines.pruning, regrowth=True, optimizer=optax.adam(1e-3)),
    "descent": baselines.descent,
}
LINEAGE = check(
    gemonn.Config(
        hidden=(16,), population_size=3, batch_size=BATCH, refine_steps=1, lineage=0.5, budget=300
    )
)


@cache
def network():
    return networks.make("autoencoder", (16,), (6, 6, 1), 10)


@cache
def data():
    drawn = np.random.default_rng(0).integers(0, 256, (60, 36), np.uint8)
    return gajax.Data({"images": jnp.asarray(drawn)}, jax.random.key(1))


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    """A batch a step."""
    monkeypatch.setattr(steps, "SECONDS", 1e-9)


def walk(method, resumed=None):
    if method == "lineage":
        return lineage.evolve(jax.random.key(2), LINEAGE, network(), data(), resumed)
    setting = jax.random.key(2), network(), data()
    return METHODS[method](*setting, batches=BATCHES, batch_size=BATCH, resumed=resumed)


def kept(step):
    """The step with a copy of its arrays, for the next one reuses their memory."""
    (state, facts), density = step.saved, np.array(step.density)
    state, params = jax.tree.map(np.array, (state, step.params))
    return step._replace(params=params, density=density, saved=(state, facts))


@cache
def whole(method):
    return [kept(step) for step in walk(method)]


def checkpoint(step):
    """What a run would read back from the files that it writes at this step."""
    state, facts = step.saved
    arrays = [leaf for leaf in jax.tree.leaves(state) if leaf.size]
    return Checkpoint(iter(arrays), json.loads(json.dumps(facts)))


def assert_same_bits(step, expected):
    for leaf, wanted in zip(*map(jax.tree.leaves, (step.saved[0], expected.saved[0])), strict=True):
        assert (leaf.shape, leaf.dtype) == (wanted.shape, wanted.dtype)
        assert leaf.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("method", DENSITIES)
def test_generations_count_the_densities(method):
    infos = [step.info for step in whole(method)]
    assert [info.generation for info in infos if info.done] == [*range(1, DENSITIES[method] + 1)]
    progress = [info.generation - 1 + info.fraction for info in infos]
    assert progress == sorted(progress) and progress[-1] == DENSITIES[method]
    # The network is recorded behind its last batch, at no cost.
    assert all(info.fraction == 1 for info in infos if info.done)


@pytest.mark.parametrize("method", DENSITIES)
def test_losses_and_densities_belong_to_the_networks_of_ended_generations(method):
    moves = baselines.moves_of(BATCHES, method == "regrowth")
    wanted = {move.row: move.density for move in moves}
    for step in whole(method):
        if step.info.done:
            np.testing.assert_array_equal(
                step.density, gajax.density(jax.tree.map(jnp.asarray, step.params))
            )
            np.testing.assert_array_equal(step.info.loss, step.saved[0].loss)
            row = step.info.generation - 1
            genes = round(float(step.density[row]) * GENES)
            assert genes == round(wanted[row] * WEIGHTS) + BIASES


@pytest.mark.parametrize("method", METHODS)
def test_the_cost_is_the_budget(method):
    infos = [step.info for step in whole(method)]
    spent = sum(info.sequential_steps for info in infos)
    if method == "descent":  # its generations are equal, nine of them here
        assert BATCHES - 9 < spent <= BATCHES
    else:
        assert spent == BATCHES
    assert sum(int(info.gradient_examples) for info in infos) == spent * BATCH


def gone_on(method, step, following):
    """The walk from the step, which leads to the following one with the same bits and costs."""
    resumed = walk(method, checkpoint(step))
    again, first = kept(next(resumed)), kept(next(resumed))
    assert_same_bits(again, step)
    assert int(again.info.gradient_examples) == again.info.sequential_steps == 0
    assert again.info[:4] == step.info[:4]
    assert_same_bits(first, following)
    assert first.info[:4] == following.info[:4]
    assert first.info.gradient_examples == following.info.gradient_examples
    return first, resumed


@pytest.mark.parametrize("method", METHODS)
def test_every_step_can_be_gone_on_from(method):
    """Each step leads to the next one, and some to the last one."""
    expected = whole(method)
    for number, (step, following) in enumerate(itertools.pairwise(expected)):
        first, resumed = gone_on(method, step, following)
        if number % 25 == 7:
            *_, last = [first, *map(kept, resumed)]
            assert_same_bits(last, expected[-1])


def test_the_ladder_of_a_lineage_can_be_gone_on_from():
    step, following, *_ = (step for step in whole("lineage") if step.saved[1]["phase"] == "ladder")
    np.testing.assert_array_equal(
        gone_on("lineage", step, following)[0].info.loss, following.info.loss
    )


def test_default_schedules_at_their_length():
    for regrowth, schedule in (False, baselines.PRUNING), (True, baselines.REGROWTH):
        moves = baselines.moves_of(25_000, regrowth)
        for row, (density, length) in enumerate(schedule):
            own = [move for move in moves if move.row == row]
            assert own[-1].stop - own[0].start == length and own[-1].density == density
            if regrowth and row:
                assert {move.stop - move.start for move in own} == {250}
                assert own[0].grow == baselines.REGROWTH_SHARE


@pytest.mark.parametrize("regrowth", [False, True])
def test_moves_use_all_of_any_number_of_batches(regrowth):
    for batches in [*range(52, 150), 333, 1_000, 24_999, 100_001]:
        moves = baselines.moves_of(batches, regrowth)
        assert moves[0].start == 0 and moves[-1].stop == batches
        for before, move in itertools.pairwise(moves):
            assert before.stop == move.start and move.stop - move.start >= 2
            assert move.row - before.row in (0, 1)
        for row in range(moves[-1].row + 1):
            assert sum(m.stop - m.start for m in moves if m.row == row) >= baselines.FEWEST
