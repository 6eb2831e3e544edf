"""The promises that the genetic algorithm and descent share, and the steps of the latter."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import assert_same, on_host

import gajax
from gajax import evaluation

SIZE, SURVIVORS, EXAMPLES, BATCH, EPOCHS, GENERATIONS = 5, 2, 14, 4, 2, 2
BATCHES = EPOCHS * (EXAMPLES // BATCH)
FACTORIES = {"ga": partial(gajax.ga, survivors=SURVIVORS), "descent": gajax.descent}
OPTIMIZER = optax.sgd(0.05, momentum=0.9)


@pytest.fixture(autouse=True, scope="module")
def small_score_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "SCORE_BATCH", 3)
        yield


def loss_fn(params, batch, scale):
    predicted = scale * batch["inputs"] @ params["kernel"] + params["rest"][0]
    return jnp.mean((predicted - batch["targets"]) ** 2)


def data(order_key=7):
    keys = jax.random.split(jax.random.key(1))
    inputs, targets = jax.random.normal(keys[0], (EXAMPLES, 3)), jax.random.normal(keys[1], (14,))
    examples = {"inputs": inputs, "targets": targets}
    return gajax.Data(examples, jax.random.key(order_key), (jnp.float32(2),))


def population():
    keys = jax.random.split(jax.random.key(2))
    kernel, bias = jax.random.normal(keys[0], (SIZE, 3)), jax.random.normal(keys[1], (SIZE,))
    return {"kernel": kernel, "rest": (bias,)}


@cache
def algorithm(name):
    return FACTORIES[name](loss_fn, optimizer=OPTIMIZER, batch_size=BATCH, epochs=EPOCHS)


def evolve(algorithm, seed=0, population=population, data=data, **options):
    """All states and infos, on the host."""
    key, options = jax.random.key(seed), {"generations": GENERATIONS} | options
    return on_host(gajax.evolve(algorithm, key, population(), data(), **options))


@cache
def recorded(name, seconds=None):
    return evolve(algorithm(name), seconds=seconds)


@pytest.mark.parametrize("name", FACTORIES)
def test_the_same_seed_gives_the_same_bits(name):
    assert_same(evolve(algorithm(name)), recorded(name))


@pytest.mark.parametrize("name", FACTORIES)
def test_another_order_of_the_examples_gives_another_result(name):
    other = evolve(algorithm(name), data=partial(data, order_key=8))
    assert (other[-1][0].params["kernel"] != recorded(name)[-1][0].params["kernel"]).any()


@pytest.mark.parametrize("name", FACTORIES)
def test_infos_say_where_a_run_stands(name):
    infos = [info for _, info in recorded(name, 1e-9)]
    generations = [info.generation for info in infos]
    first = 0 if name == "ga" else 1
    assert generations == sorted(generations)
    assert [info.generation for info in infos if info.done] == list(range(first, GENERATIONS + 1))
    stages = [*dict.fromkeys(info.stage for info in infos if info.generation == GENERATIONS)]
    names = {"ga": ["train", "breed", "score", "rank"], "descent": ["train", "average"]}
    assert stages == names[name]
    last = None
    for info in infos:
        assert not info.done or info.fraction == 1
        assert 0 < info.fraction <= 1
        if last is not None and last.generation == info.generation:
            assert info.fraction >= last.fraction
            # A stage that costs nothing, such as sorting, is no progress.
            costs = info.gradient_examples + info.forward_examples > 0
            assert (info.fraction > last.fraction) == costs
        if last is not None and not info.done:
            np.testing.assert_array_equal(info.loss, last.loss)
        last = info


@pytest.mark.parametrize("seconds", [None, 1e-9])
@pytest.mark.parametrize("name", FACTORIES)
def test_the_cost_of_a_generation_adds_up(name, seconds):
    fields = ("gradient_examples", "forward_examples", "sequential_steps")
    for generation in range(0 if name == "ga" else 1, GENERATIONS + 1):
        infos = [info for _, info in recorded(name, seconds) if info.generation == generation]
        cost = tuple(sum(int(getattr(info, field)) for info in infos) for field in fields)
        trained = 0 if generation == 0 else BATCHES
        if name == "ga":
            assert cost == (SURVIVORS * trained * BATCH, SIZE * EXAMPLES, trained + 1)
        else:
            assert cost == (SIZE * trained * BATCH, 0, trained)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_state_keeps_the_kind_of_its_population_and_stays_finite(name):
    for state, info in recorded(name):
        result = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state.params)
        assert result == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), population())
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
        assert all(len(leaf) == SIZE for leaf in jax.tree.leaves(state.optimizer_state))
        assert np.isfinite(info.loss).all()


def test_all_algorithms_see_the_same_batches_in_the_same_generation():
    """The loss's gradient is the batch itself, and the optimiser only writes it down."""

    def write(gradient, state, params=None):
        seen, count = state
        updates = jax.tree.map(jnp.zeros_like, gradient)
        return updates, (seen.at[count].set(gradient), count + 1)

    total = GENERATIONS * BATCHES
    notebook = optax.GradientTransformation(
        lambda params: (jnp.zeros((total, EXAMPLES)), jnp.int32(0)), write
    )
    seen = {}
    for name, factory in FACTORIES.items():
        made = factory(
            lambda params, batch: jnp.sum(params[batch]),
            optimizer=notebook,
            batch_size=BATCH,
            epochs=EPOCHS,
        )
        steps = evolve(
            made,
            population=lambda: jnp.ones((SIZE, EXAMPLES)),
            data=lambda: gajax.Data(jnp.arange(EXAMPLES), jax.random.key(7)),
        )
        seen[name] = steps[-1][0].optimizer_state[0]
    np.testing.assert_array_equal(seen["ga"], seen["descent"])
    for individual in seen["ga"]:
        assert (individual.sum(axis=1) == BATCH).all()
        np.testing.assert_array_equal(individual, seen["ga"][0])
        assert len({tuple(batch) for batch in individual}) > total / 2


def test_descent_takes_the_optimizers_own_steps():
    value_and_grad = jax.jit(jax.value_and_grad(loss_fn))
    for index in range(SIZE):
        params = gajax.take(population(), slice(index, index + 1))
        params = jax.tree.map(lambda leaf: leaf[0], params)
        optimizer_state = OPTIMIZER.init(params)
        update = jax.jit(OPTIMIZER.update)
        for generation, (state, info) in enumerate(recorded("descent")):
            total = 0.0
            first = generation * BATCHES
            order = evaluation.batch_order(data(), first, BATCHES, batch_size=BATCH)
            for rows in order:
                batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], data().examples)
                loss, gradient = value_and_grad(params, batch, *data().shared)
                updates, optimizer_state = update(gradient, optimizer_state, params)
                params, total = optax.apply_updates(params, updates), total + float(loss)
            np.testing.assert_allclose(state.params["kernel"][index], params["kernel"], rtol=1e-4)
            np.testing.assert_allclose(state.params["rest"][0][index], params["rest"][0], rtol=1e-4)
            np.testing.assert_allclose(info.loss[index], total / BATCHES, rtol=1e-5)
