"""Gradient descent of dense networks against plain runs of optax."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from experiments.front import descent, networks
from gajax import evaluation

BATCH = 8


@pytest.fixture
def short_stretches(monkeypatch):
    """Three batches of six individuals a yield."""
    monkeypatch.setattr(evaluation, "default_examples_per_step", lambda: 6 * 3 * BATCH)


@cache
def network():
    return networks.make("autoencoder", (16,), (6, 6, 1), 10)


@cache
def data():
    drawn = np.random.default_rng(0).integers(0, 256, (60, 36), np.uint8)
    return gajax.Data({"images": jnp.asarray(drawn)}, jax.random.key(1))


@cache
def value_and_grad():
    return jax.jit(jax.value_and_grad(network().loss_fn))


def train(budget=50 * BATCH, **options):
    steps = descent.descent(
        jax.random.key(2), network(), data(), budget=budget, batch_size=BATCH, **options
    )
    return list(steps)


def expected(optimizer, batches):
    """Parameters and losses of all batches of a plain loop over the epochs' batches."""
    params = network().init(jax.random.key(2))
    state, losses = optimizer.init(params), []
    epoch = evaluation.example_count(data()) // BATCH

    for index in range(batches):
        if index % epoch == 0:
            order = evaluation.batch_order(data(), index // epoch, batch_size=BATCH)
        batch = evaluation.batch_at(data().examples, order, index % epoch)
        loss, gradient = value_and_grad()(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return params, losses


def test_every_individual_is_a_plain_run_of_its_rule_and_rate(short_stretches):
    steps = train()
    sizes = [int(step.info.sequential_steps) for step in steps]
    ends = np.cumsum(sizes)
    optimizers = [rule(rate) for rule in (optax.sgd, optax.adam) for rate in (0.1, 0.01, 0.001)]
    for number, optimizer in enumerate(optimizers):
        params, losses = expected(optimizer, 50)
        jax.tree.map(
            lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5),
            gajax.take(steps[-1].params, number),
            params,
        )
        means = [np.mean(losses[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
        np.testing.assert_allclose([step.info.loss[number] for step in steps], means, rtol=1e-4)


def test_names_follow_the_individuals():
    assert descent.NAMES == (
        "SGD 0.1",
        "SGD 0.01",
        "SGD 0.001",
        "Adam 0.1",
        "Adam 0.01",
        "Adam 0.001",
    )
    assert descent.names((0.5,)) == ("SGD 0.5", "Adam 0.5")
    only = train(rates=(0.01,))[-1].params
    chosen = jax.tree.map(lambda leaf: leaf[jnp.array([1, 4])], train()[-1].params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), only, chosen)


def test_the_cost_of_one_individual_is_the_budget(short_stretches):
    steps = train(budget=50.5 * BATCH)
    assert sum(int(step.info.gradient_examples) for step in steps) == 50 * BATCH
    assert sum(int(step.info.sequential_steps) for step in steps) == 50
    assert all(0 < step.info.sequential_steps <= 3 for step in steps)
    assert all((step.density == 1).all() for step in steps)


def test_a_generation_is_an_epoch(short_stretches):
    infos = [step.info for step in train(budget=17 * BATCH)]
    assert [int(info.generation) for info in infos] == [1] * 3 + [2] * 3 + [3]
    assert [bool(info.done) for info in infos] == [False, False, True] * 2 + [True]
    np.testing.assert_allclose(
        [info.fraction for info in infos], [2 / 7, 4 / 7, 1, 2 / 7, 4 / 7, 1, 3 / 7], rtol=1e-6
    )


def test_nothing_is_compiled_for_a_later_stretch(short_stretches):
    traces = []
    made = network()

    def counted(params, batch):
        traces.append(None)
        return made.loss_fn(params, batch)

    steps = descent.descent(
        jax.random.key(0),
        made._replace(loss_fn=counted),
        data(),
        budget=50 * BATCH,
        batch_size=BATCH,
    )
    next(steps)
    first = len(traces)
    assert first > 0
    assert len(list(steps)) > 10
    assert len(traces) == first


@pytest.mark.parametrize("budget, batch_size", [(7, 8), (800, 61)])
def test_impossible_batches_are_refused(budget, batch_size):
    with pytest.raises(ValueError, match="batch"):
        next(
            descent.descent(
                jax.random.key(0), network(), data(), budget=budget, batch_size=batch_size
            )
        )


@pytest.mark.parametrize("size", [1, 2, 5, 7, 20])
def test_split_gives_every_batch_once_in_the_order_of_the_epochs(size, monkeypatch):
    monkeypatch.setattr(evaluation, "default_examples_per_step", lambda: size * BATCH)
    epoch = evaluation.example_count(data()) // BATCH
    wanted = np.concatenate(
        [evaluation.batch_order(data(), number, batch_size=BATCH) for number in range(6)]
    )
    found, ends = [], set()
    for order, start, stop in descent.split(data(), [9, 40, 23], batch_size=BATCH):
        assert start == len(found) and start < stop <= start + size
        found += [np.asarray(order[index % len(order)]) for index in range(start, stop)]
        ends.add(stop)
    assert len(found) == 40 and ends >= {9, 23, 40} and len(order) % epoch == 0
    np.testing.assert_array_equal(found, wanted[:40])


def test_the_first_batches_of_a_run_without_end_come_at_once():
    stretches = descent.split(data(), [10**12, 5], batch_size=BATCH, individuals=10**6)
    assert [(next(stretches).start, next(stretches).start) for _ in range(3)] == [
        (0, 1),
        (2, 3),
        (4, 5),
    ]
