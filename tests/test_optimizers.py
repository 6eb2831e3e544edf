"""Optimisers of every kind train a population as each of its individuals by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import evaluation

SIZE, EXAMPLES, BATCH, STEPS = 3, 24, 8, 6
OPTIMIZERS = {
    "plateau": lambda: optax.chain(
        optax.sgd(0.1), optax.contrib.reduce_on_plateau(factor=0.5, patience=1, cooldown=0)
    ),
    "polyak": lambda: optax.polyak_sgd(max_learning_rate=0.3),
    "lbfgs": lambda: optax.lbfgs(memory_size=3),
    "hyperparameters": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.05),
    "several steps": lambda: optax.MultiSteps(
        optax.adam(0.1), every_k_schedule=2
    ).gradient_transformation(),
    "schedule free": lambda: optax.contrib.schedule_free_sgd(0.1),
    "masked": lambda: optax.masked(optax.sgd(0.1), {"kernel": True, "bias": False}),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.05)),
}


def loss_fn(params, batch):
    return jnp.mean((batch["inputs"] @ params["kernel"] + params["bias"] - batch["targets"]) ** 2)


def data():
    drawn = np.random.default_rng(0)
    inputs = drawn.normal(size=(EXAMPLES, 4))
    targets = inputs @ np.array([1.0, -2.0, 0.5, 3.0]) + 1
    return gajax.Data({"inputs": inputs, "targets": targets}, 5)


def population():
    kernel = jax.random.normal(jax.random.key(1), (SIZE, 4)).at[:, 1].set(0)
    return {"kernel": kernel, "bias": jnp.zeros(SIZE)}


def stepping(optimizer):
    """A compiled step of the optimiser on one network."""

    @jax.jit
    def step(params, state, batch):
        value_fn = partial(loss_fn, batch=batch)
        loss, gradient = jax.value_and_grad(value_fn)(params)
        extra = {"value": loss, "grad": gradient, "value_fn": value_fn}
        updates, state = optimizer.update(gradient, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return step


def trained_alone(optimizer, step, params):
    """The parameters after every batch of a plain loop."""
    order = evaluation.batch_order(
        data()._replace(order_key=jax.random.key(5)), 0, STEPS, batch_size=BATCH
    )
    state = optimizer.init(params)
    for rows in np.asarray(order):
        batch = {name: values[rows] for name, values in data().examples.items()}
        params, state = step(params, state, batch)
    return params


def descend(optimizer):
    made = gajax.descent(loss_fn, optimizer=optimizer, batch_size=BATCH, batches=STEPS)
    *_, (state, info) = gajax.evolve(made, 0, population(), data(), generations=1)
    assert info.failed == 0
    return state.params


@pytest.fixture
def double_precision():
    """A line search magnifies the rounding of single precision."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_individual_is_trained_as_by_a_plain_loop(name, double_precision):
    trained = descend(OPTIMIZERS[name]())
    optimizer = optax.with_extra_args_support(OPTIMIZERS[name]())
    step = stepping(optimizer)
    for index in range(SIZE):
        expected = trained_alone(optimizer, step, gajax.take(population(), index))
        for leaf, wanted in zip(*map(jax.tree.leaves, (trained, expected)), strict=True):
            np.testing.assert_allclose(leaf[index], wanted, rtol=1e-4, atol=1e-5)
    assert (np.asarray(trained["kernel"]) != np.asarray(population()["kernel"])).any()


def is_weight(path, leaf):
    return path == "kernel"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sparse_around_any_optimiser_keeps_zeros(name):
    trained = descend(gajax.sparse(OPTIMIZERS[name](), may_be_zero=is_weight))
    kernel, before = np.asarray(trained["kernel"]), np.asarray(population()["kernel"])
    np.testing.assert_array_equal(kernel == 0, before == 0)
    assert (kernel != before)[before != 0].all()


def test_sparse_hides_the_gradients_of_zeros_from_what_reads_them():
    seen = {}

    def update(updates, state, params=None, *, grad, **extra):
        seen.update(grad=grad, updates=updates)
        return updates, state

    reader = optax.GradientTransformationExtraArgs(lambda params: (), update)
    params = gajax.take(population(), 0)
    ones = jax.tree.map(jnp.ones_like, params)
    sparse = gajax.sparse(reader, may_be_zero=is_weight)
    sparse.update(ones, sparse.init(params), params, grad=ones, value=jnp.float32(1))
    for tree in seen.values():
        np.testing.assert_array_equal(tree["kernel"], params["kernel"] != 0)
        assert tree["bias"] == 1


@pytest.mark.parametrize("name", [pytest.param("lbfgs", marks=pytest.mark.heavy), "plateau"])
@pytest.mark.parametrize(
    "algorithm",  # the children of gemonn learn as those of the refinement
    ["ga", pytest.param("gemonn", marks=pytest.mark.heavy), "refinement", "pruning"],
)
def test_every_algorithm_gives_optimisers_what_they_take(algorithm, name):
    optimizer, size = OPTIMIZERS[name](), SIZE
    if algorithm == "ga":
        made = gajax.ga(loss_fn, optimizer=optimizer, survivors=2, batch_size=BATCH)
    elif algorithm == "gemonn":
        refine = gajax.Refine(gajax.sparse(optimizer, may_be_zero=is_weight), steps=2)
        made = gajax.gemonn(loss_fn, batch_size=BATCH, refine=refine)
    elif algorithm == "refinement":
        made = gajax.refinement(
            loss_fn, optimizer=optimizer, batch_size=BATCH, steps=STEPS, checks=1
        )
    else:
        moves = gajax.pruning_moves(((1.0, 4), (0.5, 4)))
        made, size = (
            gajax.pruning(loss_fn, optimizer=optimizer, batch_size=BATCH, moves=moves),
            1,
        )
    started = gajax.take(population(), slice(size))
    generations = None if algorithm in ("refinement", "pruning") else 1
    *_, (state, info) = gajax.evolve(made, 0, started, data(), generations=generations)
    assert info.failed == 0
    losses = [evaluation.losses(loss_fn, params, data()) for params in (state.params, started)]
    assert losses[0].min() < losses[1].min()
