"""Losses and gradient steps of a population against plain loops over individuals and batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import evaluation, gradients
from gajax.context import Measured

SIZE, FEATURES = 5, 3


def data(examples, features=FEATURES):
    keys = jax.random.split(jax.random.key(examples), 3)
    inputs = jax.random.normal(keys[0], (examples, features))
    targets = jax.random.normal(keys[1], (examples,))
    return gajax.Data({"inputs": inputs, "targets": targets}, keys[2], (jnp.float32(2),))


def population():
    keys = jax.random.split(jax.random.key(0))
    return {
        "kernel": jax.random.normal(keys[0], (SIZE, FEATURES)),
        "bias": (jax.random.normal(keys[1], (SIZE,)),),
    }


def loss_fn(params, batch, scale):
    predicted = scale * batch["inputs"] @ params["kernel"] + params["bias"][0]
    return jnp.mean((predicted - batch["targets"]) ** 2)


def expected_errors(population, data):
    """Squared errors [P, N], in NumPy."""
    kernel, bias = np.asarray(population["kernel"]), np.asarray(population["bias"][0])
    inputs, targets = (np.asarray(data.examples[name]) for name in ("inputs", "targets"))
    return (2 * kernel @ inputs.T + bias[:, None] - targets) ** 2


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 4, 5, 8])
def test_map_individuals_gives_what_a_loop_gives(chunk_size):
    def scaled(params, factor):
        return {"sum": params["kernel"].sum() * params["bias"][0] * factor}

    mapped = evaluation.map_individuals(scaled, population(), 3.0, chunk_size=chunk_size)
    kernel, bias = population()["kernel"], population()["bias"][0]
    np.testing.assert_allclose(mapped["sum"], 3 * np.asarray(kernel).sum(1) * bias, rtol=1e-6)


@pytest.mark.parametrize("examples", [7, 1_000, 2_000, 2_345])
def test_losses_are_the_means_over_all_examples(examples):
    result = evaluation.losses(loss_fn, population(), data(examples))
    expected = expected_errors(population(), data(examples)).mean(axis=1)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("chunk_size", [2, 5])
def test_losses_do_not_depend_on_the_chunks(chunk_size):
    result = evaluation.losses(loss_fn, population(), data(2_345), chunk_size=chunk_size)
    expected = evaluation.losses(loss_fn, population(), data(2_345))
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("examples", [25, 30])
def test_score_adds_the_shares_of_its_part_alone(examples, monkeypatch):
    monkeypatch.setattr(evaluation, "SCORE_BATCH", 10)
    errors = expected_errors(population(), data(33))[:, :examples]
    for start, stop in [(0, 1), (1, 3), (0, 3), (2, 3), (1, 1)]:
        result = evaluation.score(loss_fn, population(), data(33), start, stop, examples=examples)
        expected = errors[:, 10 * start : 10 * stop].sum(1) / examples
        np.testing.assert_allclose(result.loss, expected, rtol=1e-5)


@pytest.mark.parametrize("chunk_size", [1, 3, 5])
def test_score_adds_to_each_individual_up_to_a_stop_of_its_own(chunk_size, monkeypatch):
    monkeypatch.setattr(evaluation, "SCORE_BATCH", 10)
    errors, begun = expected_errors(population(), data(33)), np.arange(5.0)
    stops = [0, 1, 2, 3, 4]  # batches of 10, 10, 10 and 3 examples
    totals = evaluation.score(
        loss_fn,
        population(),
        data(33),
        1,
        jnp.array(stops),
        examples=33,
        total=Measured(jnp.asarray(begun, jnp.float32), {}),
        chunk_size=chunk_size,
    )
    for index, stop in enumerate(stops):
        expected = begun[index] + errors[index, 10 : 10 * stop].sum() / 33
        np.testing.assert_allclose(totals.loss[index], expected, rtol=1e-5)


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_has_at_least_one_individual(chunk_size):
    with pytest.raises(ValueError, match="^chunk_size must be 1 or more, not"):
        evaluation.losses(loss_fn, population(), data(7), chunk_size=chunk_size)


@pytest.mark.parametrize("name, chunk_size", [("adam", 1), ("clipped momentum", 2), ("adam", 5)])
def test_gradient_steps_train_each_individual_by_itself(name, chunk_size):
    optimizer = {
        "adam": optax.adam(0.1),
        "clipped momentum": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9)),
    }[name]
    value_and_grad = jax.value_and_grad(loss_fn)
    training = data(20)
    order = jnp.array([[3, 1], [0, 19], [7, 7], [2, 5]])
    states = jax.vmap(optimizer.init)(population())
    trained, states, totals = gradients.gradient_steps(
        value_and_grad,
        optimizer,
        population(),
        states,
        training,
        order,
        1,
        4,
        chunk_size=chunk_size,
    )
    for index in range(SIZE):
        params = gajax.take(population(), index)
        state, total = optimizer.init(params), 0.0
        for rows in order[1:4]:
            batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], training.examples)
            loss, gradient = value_and_grad(params, batch, *training.shared)
            updates, state = optimizer.update(gradient, state, params)
            params, total = optax.apply_updates(params, updates), total + loss
        expected = (params, state, Measured(total, {}))
        result = gajax.take((trained, states, totals), index)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), result, expected)


@pytest.mark.parametrize("chunk_size", [1, 3, 5])
def test_gradient_steps_train_each_individual_up_to_a_stop_of_its_own(chunk_size):
    optimizer, value_and_grad = optax.adam(0.1), jax.value_and_grad(loss_fn)
    order = jnp.array([[3, 1], [0, 19], [7, 7], [2, 5]])
    states = jax.vmap(optimizer.init)(population())
    begun = Measured(jnp.arange(SIZE, dtype=jnp.float32), {})
    start, stops = 1, [4, 1, 6, 3, 0]  # no step at all, and beyond the last batch
    train = partial(gradients.gradient_steps, value_and_grad, optimizer)
    common = data(20), order, start
    result = train(
        population(), states, *common, jnp.array(stops), total=begun, chunk_size=chunk_size
    )
    for index, stop in enumerate(stops):
        alone = gajax.take((population(), states), slice(index, index + 1))
        expected = train(*alone, *common, stop, total=gajax.take(begun, slice(index, index + 1)))
        one = gajax.take(result, slice(index, index + 1))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, expected)
    jax.tree.map(
        lambda before, after: np.testing.assert_array_equal(before[1], after[1]),
        (population(), states, begun),
        result,
    )


def test_behind_the_last_batch_the_first_comes_again():
    order = jnp.array([[3, 1], [0, 19], [7, 2]])
    for index in (0, 2, 3, 7, jnp.int32(5)):
        batch = evaluation.batch_at(data(20).examples, order, index)
        rows = np.asarray(order)[int(index) % 3]
        for name, leaf in data(20).examples.items():
            np.testing.assert_array_equal(batch[name], np.asarray(leaf)[rows])


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 5])
def test_each_individual_has_a_loss_and_the_signs_of_its_gradient_on_one_batch(chunk_size):
    batch, shared = data(9).examples, data(9).shared
    individuals = population()
    individuals["kernel"] = individuals["kernel"].at[:, 1].set(0)
    batch["inputs"] = batch["inputs"].at[:, 1].set(0)  # so that this gradient is zero
    score = partial(evaluation.batch_losses, loss_fn, individuals, batch, shared)
    losses, signs = score(gradient_fn=jax.value_and_grad(loss_fn), chunk_size=chunk_size)
    expected = expected_errors(individuals, gajax.Data(batch, None)).mean(axis=1)
    np.testing.assert_allclose(losses.loss, expected, rtol=1e-5)
    only, nothing = score(chunk_size=chunk_size)
    assert nothing is None
    np.testing.assert_allclose(only.loss, expected, rtol=1e-5)
    gradient = jax.vmap(jax.grad(loss_fn), (0, None, None))(individuals, batch, *shared)
    for sign, slope in zip(jax.tree.leaves(signs), jax.tree.leaves(gradient), strict=True):
        assert sign.dtype == jnp.int8
        np.testing.assert_array_equal(sign, np.sign(slope))
    assert (signs["kernel"][:, 1] == 0).all() and {-1, 1} <= set(np.ravel(signs["kernel"]))


TIED = [  # encoder's part, decoder's part, gradient
    (1, 2, 3),
    (-1, -2, -3),
    (1, -2, 0),
    (-1, 2, 0),
    (0, 5, 5),
    (-5, 0, -5),
    (0, 0, 0),
    (1e-30, 2e-30, 3e-30),
    (1e-30, -2e-30, 0),  # whose product is less than any number
    (-1e-30, 1e30, 0),
    (np.inf, -1, 0),
    (np.nan, 1, np.nan),
]


@pytest.mark.parametrize("jit", [False, True])
def test_a_tied_gradient_is_the_sum_of_its_parts_where_these_agree(jit):
    encoder, decoder, wanted = jnp.array(TIED, jnp.float32).T

    def loss_fn(first, second, batch, scale):
        return jnp.sum(first["w"][0] * batch * encoder) + jnp.sum(second["w"][0] * decoder * scale)

    value_and_grad = gajax.tied(loss_fn)
    value_and_grad = jax.jit(value_and_grad) if jit else value_and_grad
    params = {"w": (jnp.zeros(len(TIED)),)}
    _, gradient = value_and_grad(params, jnp.float32(1), jnp.float32(1))
    np.testing.assert_allclose(gradient["w"][0], wanted, rtol=1e-6)


def test_a_tied_autoencoder_in_numpy():
    keys = jax.random.split(jax.random.key(11), 2)
    weights, batch = jax.random.normal(keys[0], (6, 2)), jax.random.normal(keys[1], (30, 6))

    def loss_fn(encoder, decoder, batch):
        return jnp.mean((batch @ encoder @ decoder.T - batch) ** 2)

    loss, gradient = gajax.tied(loss_fn)(weights, batch)
    weights, batch = np.asarray(weights), np.asarray(batch)
    error = batch @ weights @ weights.T - batch
    np.testing.assert_allclose(loss, np.mean(error**2), rtol=1e-5)
    into, out = (
        2 / error.size * part for part in (batch.T @ error @ weights, error.T @ batch @ weights)
    )
    agree = np.sign(into) == np.sign(out)
    assert agree.any() and not agree.all()
    np.testing.assert_allclose(gradient, np.where(agree, into + out, 0), rtol=1e-3, atol=1e-5)


def test_examples_must_agree_about_their_number():
    assert evaluation.example_count(data(7)) == 7
    with pytest.raises(ValueError, match="leading axis"):
        evaluation.example_count(
            gajax.Data({"a": jnp.ones(3), "b": jnp.ones(4)}, jax.random.key(0))
        )
