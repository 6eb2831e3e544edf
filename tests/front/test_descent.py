"""Gradient descent of dense networks against plain runs of optax."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from experiments.front import baselines, networks
from experiments.front.rows import OF_DESCENT
from experiments.running import steps
from gajax import evaluation

BATCH = 8


@pytest.fixture
def short_steps(monkeypatch):
    """A batch a step."""
    monkeypatch.setattr(steps, "SECONDS", 1e-9)


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


def train(batches=50):
    """All steps; what they hold is copied, for the next step reuses its memory."""
    walk = baselines.descent(
        jax.random.key(2), network(), data(), batches=batches, batch_size=BATCH
    )
    return [step._replace(params=jax.tree.map(jnp.copy, step.params)) for step in walk]


def expected(optimizer, batches):
    """Parameters and losses of all batches of a plain loop."""
    params = network().init(jax.random.key(2))
    state, losses = optimizer.init(params), []
    for rows in evaluation.batch_order(data(), 0, batches, batch_size=BATCH):
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], data().examples)
        loss, gradient = value_and_grad()(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return params, losses


def test_every_individual_is_a_plain_run_of_its_rule_and_rate():
    ends = [step for step in train() if step.info.done]
    sizes = [5] * 10  # no batch of 50 is left out
    optimizers = [rule(rate) for rule in (optax.sgd, optax.adam) for rate in (0.1, 0.01, 0.001)]
    for number, optimizer in enumerate(optimizers):
        params, losses = expected(optimizer, sum(sizes))
        jax.tree.map(
            lambda result, wanted: np.testing.assert_allclose(result, wanted, rtol=1e-3, atol=1e-5),
            gajax.take(ends[-1].params, number),
            params,
        )
        means = np.reshape(losses, (len(sizes), -1)).mean(axis=1)
        np.testing.assert_allclose([step.info.loss[number] for step in ends], means, rtol=1e-4)


def test_names_follow_the_individuals():
    assert OF_DESCENT == (
        "SGD 0.1",
        "SGD 0.01",
        "SGD 0.001",
        "Adam 0.1",
        "Adam 0.01",
        "Adam 0.001",
    )


@pytest.mark.parametrize("batches, generations", [(3, 1), (7, 1), (8, 2), (50, 10), (53, 13)])
def test_the_cost_is_that_of_one_individual_near_the_budget(batches, generations, short_steps):
    infos = [step.info for step in train(batches)]
    spent = sum(int(info.sequential_steps) for info in infos)
    assert batches - batches % generations == spent
    assert batches % generations <= 1
    assert sum(int(info.gradient_examples) for info in infos) == spent * BATCH
    assert [info.generation for info in infos if info.done] == list(range(1, generations + 1))
    assert all(step.density.shape == (6,) and (step.density == 1).all() for step in train(3))
