"""Running: what is compiled, what is deleted, and when a run ends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax

FACTORIES = {"ga": partial(gajax.ga, survivors=2), "gradient": gajax.gradient}


def data(seed):
    return gajax.Data(jax.random.normal(jax.random.key(seed), (8, 3)), jax.random.key(seed))


def population(seed):
    return {"weights": jax.random.normal(jax.random.key(seed), (4, 3))}


@pytest.fixture(scope="module", params=FACTORIES)
def traced(request):
    """An algorithm, and the list that its loss function grows by one each time it is traced."""
    traces = []

    def loss_fn(params, batch):
        traces.append(None)
        return jnp.mean((params["weights"] - batch) ** 2)

    make = FACTORIES[request.param]
    return make(loss_fn, optimizer=optax.adam(0.1), batch_size=4), traces


def test_the_same_shapes_compile_once(traced):
    algorithm, traces = traced
    steps = gajax.evolve(algorithm, jax.random.key(0), population(0), data(0), generations=3)
    next(steps)
    after_first_step = len(traces)
    first = [np.asarray(state.params["weights"]) for state, _ in steps][-1]
    steps = gajax.evolve(algorithm, jax.random.key(0), population(0), data(1), generations=3)
    second = [np.asarray(state.params["weights"]) for state, _ in steps][-1]
    assert len(traces) == after_first_step > 0
    assert (first != second).all(), "the data are no part of the program"


def test_the_population_of_the_caller_outlives_the_run(traced):
    mine = population(0)
    for state, _ in gajax.evolve(traced[0], jax.random.key(0), mine, data(0), generations=2):
        last = state
    np.testing.assert_array_equal(mine["weights"], population(0)["weights"])
    assert (last.params["weights"] != mine["weights"]).any()


def test_the_memory_of_a_state_is_used_again(traced):
    state = gajax.start(traced[0], jax.random.key(0), population(0), data(0))
    gajax.run(traced[0], jax.random.key(0), state, data(0))
    assert state.params["weights"].is_deleted()


@pytest.mark.parametrize("generations", [1, 4])
def test_a_run_ends_after_its_last_generation(traced, generations):
    steps = gajax.evolve(
        traced[0], jax.random.key(0), population(0), data(0), generations=generations
    )
    infos = [info for _, info in steps]
    done = [int(info.generation) for info in infos if info.done]
    assert done[-1] == generations and done == list(range(done[0], generations + 1))
    assert infos[-1].done
