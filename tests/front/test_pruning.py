"""Pruning and regrowth against what plain NumPy says of every move."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from experiments.front import networks, pruning
from gajax import evaluation

BATCH, WEIGHTS, BIASES = 8, 576, 16


@pytest.fixture
def short_stretches(monkeypatch):
    """A yield for every batch."""
    monkeypatch.setattr(evaluation, "default_examples_per_step", lambda: 1)


@cache
def network():
    return networks.make("autoencoder", (16,), (6, 6, 1), 10)


@cache
def data():
    drawn = np.random.default_rng(0).integers(0, 256, (60, 36), np.uint8)
    return gajax.Data({"images": jnp.asarray(drawn)}, jax.random.key(1))


def train(regrowth, batches=130, made=None, **options):
    return list(
        pruning.snapshots(
            jax.random.key(2),
            made or network(),
            data(),
            budget=(batches + 0.5) * BATCH,
            batch_size=BATCH,
            regrowth=regrowth,
            **options,
        )
    )


def weights(params):
    """The kernels of all individuals, flat, in NumPy."""
    return np.asarray(params["blocks_0"]["kernel"]).reshape(-1, WEIGHTS)


def batch(index):
    epoch = evaluation.example_count(data()) // BATCH
    order = evaluation.batch_order(data(), index // epoch, batch_size=BATCH)
    return evaluation.batch_at(data().examples, order, index % epoch)


def largest(scores, count):
    return np.argsort(-scores, kind="stable")[:count]


@pytest.mark.parametrize("regrowth", [False, True])
def test_plans_at_the_full_budget_are_the_schedules(regrowth):
    schedule = pruning.REGROWTH if regrowth else pruning.PRUNING
    stages = pruning.plan(25_000, 392_000, regrowth)
    assert [stage.stop - stage.start for stage in stages] == [length for _, length in schedule]
    assert stages[-1].stop == 25_000 and not stages[0].moves
    for stage, (density, length) in zip(stages[1:], schedule[1:], strict=True):
        numbers = [keep + grow for _, keep, grow in stage.moves]
        assert stage.moves[0][0] == stage.start and numbers[-1] == round(392_000 * density)
        if regrowth:
            assert np.diff([move[0] for move in stage.moves]).tolist() == [250] * (
                length // 250 - 1
            )
            assert set(numbers) == {numbers[-1]}
            shares = np.array([grow for _, _, grow in stage.moves]) / numbers[-1]
            np.testing.assert_allclose(
                shares, 0.2 * np.linspace(1, 0, len(shares), endpoint=False), atol=1e-3
            )
        else:
            assert len(stage.moves) == 2 and numbers[0] > numbers[1]
            assert all(grow == 0 for _, _, grow in stage.moves)


@pytest.mark.parametrize("regrowth", [False, True])
@pytest.mark.parametrize("batches", [52, 60, 333, 1_000, 24_999, 100_001])
def test_plans_of_any_budget_use_all_of_it(regrowth, batches):
    stages = pruning.plan(batches, 1_000, regrowth)
    assert stages[0].start == 0 and stages[-1].stop == batches
    for before, stage in zip(stages, stages[1:], strict=False):
        assert before.stop == stage.start and stage.stop - stage.start >= pruning.FEWEST
        starts = [move[0] for move in stage.moves] + [stage.stop]
        assert starts[0] == stage.start and min(np.diff(starts)) >= 2


def test_a_budget_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="13 stages need 4 batches each, there are 51"):
        train(False, 51)


@pytest.mark.parametrize("regrowth", [False, True])
def test_snapshots_have_the_densities_of_the_schedule(regrowth):
    step = train(regrowth)[-1]
    densities = [density for density, _ in (pruning.REGROWTH if regrowth else pruning.PRUNING)]
    kept = (weights(step.params) != 0).sum(axis=1)
    assert kept.tolist() == [round(density * WEIGHTS) for density in densities]
    biases = np.asarray(step.params["blocks_0"]["hidden_bias"])
    assert biases.shape == (len(densities), BIASES) and (biases != 0).all()
    np.testing.assert_allclose(step.density, (kept + BIASES) / (WEIGHTS + BIASES), rtol=1e-6)


@pytest.mark.parametrize("regrowth", [False, True])
def test_every_move_keeps_the_largest_and_grows_by_the_gradient(regrowth, short_stretches):
    steps = train(regrowth)
    stages = pruning.plan(130, WEIGHTS, regrowth)
    moves = {move[0]: move[1:] for stage in stages for move in stage.moves}
    alive, revived = set(range(WEIGHTS)), 0
    for index, step in enumerate(steps):
        found = set(np.flatnonzero(weights(step.params)[-1]))
        if index in moves:
            keep, grow = moves[index]
            before = gajax.take(steps[index - 1].params, -1)
            kept = largest(np.abs(weights(before)[0]), keep)
            if grow:
                # The batch after the move is for the choice alone, and what is chosen is still 0.
                assert found == set(kept)
                alone = np.isin(np.arange(WEIGHTS), kept).reshape(36, 16)
                kernel = jnp.where(alone, before["blocks_0"]["kernel"], 0)
                pruned = {"blocks_0": before["blocks_0"] | {"kernel": kernel}}
                gradient = np.abs(weights(jax.grad(network().loss_fn)(pruned, batch(index)))[0])
                gradient[kept] = -1
                grown = largest(gradient, grow)
                revived += len(set(grown) - alive)
                alive = set(kept) | set(grown)
                continue
            assert set(kept) <= alive
            alive = set(kept)
        assert found == alive
    assert bool(revived) == regrowth


@pytest.mark.parametrize("regrowth", [False, True])
def test_finished_snapshots_stay_as_they_are(regrowth, short_stretches):
    steps = train(regrowth)
    for stage in range(len(steps[-1].density)):
        ended = [step for step in steps if step.info.generation == stage + 1][-1]
        for step in (ended, steps[-1]):
            assert step.info.loss[stage] == ended.info.loss[stage]
            assert step.density[stage] == ended.density[stage]
            np.testing.assert_array_equal(
                weights(step.params)[stage], weights(ended.params)[stage:][-1]
            )


@pytest.mark.parametrize("regrowth", [False, True])
def test_cost_is_the_budget_and_stages_end_once(regrowth):
    infos = [step.info for step in train(regrowth, 700)]
    assert sum(int(info.gradient_examples) for info in infos) == 700 * BATCH
    assert sum(int(info.sequential_steps) for info in infos) == 700
    assert all(info.sequential_steps > 0 and info.forward_examples == 0 for info in infos)
    ended = [int(info.generation) for info in infos if info.done]
    assert ended == list(range(1, 13 if regrowth else 14))
    assert [bool(info.fraction == 1) for info in infos] == [bool(info.done) for info in infos]
    at = [float(info.generation + info.fraction) for info in infos]
    assert at == sorted(at)


def test_losses_are_those_of_the_batches(short_stretches):
    steps = train(True)
    for index in (1, 30, 60):
        stage = int(steps[index].info.generation) - 1
        before = gajax.take(steps[index - 1].params, stage)
        wanted = network().loss_fn(before, batch(index))
        np.testing.assert_allclose(steps[index].info.loss[stage:], wanted, rtol=1e-5)


def test_the_same_key_gives_the_same_run():
    jax.tree.map(np.testing.assert_array_equal, train(True)[-1], train(True)[-1])


def test_nothing_is_compiled_for_a_later_stretch():
    traces = []

    def counted(params, batch):
        traces.append(None)
        return network().loss_fn(params, batch)

    made = network()._replace(loss_fn=counted)
    steps = pruning.snapshots(
        jax.random.key(0), made, data(), budget=1_000, batch_size=BATCH, regrowth=True
    )
    next(steps)
    first = len(traces)
    assert first > 0
    assert len(list(steps)) > 10
    assert len(traces) == first


@pytest.mark.parametrize("count", [0, 1, 3, 5, 7])
def test_highest_counts_ties_and_leaves_biases(count):
    scores = {
        "a": {"kernel": jnp.array([[3.0, 1.0], [3.0, -1.0]]), "bias": jnp.array([-5.0])},
        "b": {"kernel": jnp.array([3.0, 0.0, 4.0])},
    }
    chosen = pruning.highest(scores, count)
    assert chosen["a"]["bias"].tolist() == [True]
    found = np.concatenate([np.ravel(chosen[name]["kernel"]) for name in "ab"])
    flat = np.array([3.0, 1.0, 3.0, -1.0, 3.0, 0.0, 4.0])
    assert found.dtype == bool and found.sum() == count
    assert sorted(flat[found]) == sorted(flat)[7 - count :]


@pytest.mark.parametrize("name, hidden", [("lenet", (1,)), ("lstm", (6,)), ("mlp", (8, 7))])
def test_classifiers_are_pruned_too(name, hidden):
    made = networks.make(name, hidden, (12, 12, 1), 3)
    drawn = np.random.default_rng(0)
    examples = {
        "images": jnp.asarray(drawn.integers(0, 256, (40, 144), np.uint8)),
        "labels": jnp.asarray(drawn.integers(0, 3, 40, np.int32)),
    }
    steps = pruning.snapshots(
        jax.random.key(0),
        made,
        gajax.Data(examples, jax.random.key(1)),
        budget=70 * BATCH,
        batch_size=BATCH,
        regrowth=True,
    )
    step = list(steps)[-1]
    shapes = jax.tree_util.tree_leaves_with_path(step.params)
    biases = sum(leaf[0].size for path, leaf in shapes if path[-1].key.endswith("bias"))
    genes = sum(leaf[0].size for _, leaf in shapes)
    assert 0 < biases < genes / 4
    wanted = [round(density * (genes - biases)) for density, _ in pruning.REGROWTH]
    assert np.isfinite(step.info.loss).all()
    # A gene that is alive but no example tells anything about stays at zero.
    found = np.rint(step.density * genes).astype(int)
    assert (found <= np.array(wanted) + biases).all()
    assert (found >= 0.9 * np.array(wanted)).all()
