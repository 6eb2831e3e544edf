"""Several seeds at once come to what each comes to by itself."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_sharding import ALGORITHMS, DATA, SIZE, draw, on

import gajax

SEEDS = 3


def keys(number):
    """Keys of all seeds, drawn anew so that none is used twice."""
    return jax.random.split(jax.random.key(number), SEEDS)


def data_of_all(order_keys):
    """One data set for all seeds, in an order of each one's own."""
    return gajax.Data(jax.tree.map(lambda leaf: leaf[None], DATA.examples), order_keys)


def evolved(name, key, population, data):
    """Parameters and losses at the end, and what the infos count along the way."""
    generations = 1 if name == "refinement" else 2
    steps = gajax.evolve(ALGORITHMS[name], key, population, data, generations=generations)
    counts = []
    for state, info in steps:  # noqa: B007
        counts.append((info.generation, info.done, info.gradient_examples, info.fraction))
    return jax.device_get((state.params, info.loss)), np.array(counts)


@pytest.mark.parametrize("side_by_side", [pytest.param(False, marks=pytest.mark.heavy), True])
@pytest.mark.parametrize("name", ["ga", "gemonn", "refinement"])
def test_seeds_together_equal_seeds_alone(name, side_by_side, monkeypatch):
    # The name gajax.run is that of the function, too.
    monkeypatch.setattr(sys.modules["gajax.run"], "_side_by_side", lambda: side_by_side)
    jax.clear_caches()
    jax.clear_caches()
    populations = [
        gajax.init(jax.random.key(10 + seed), draw, SIZE, densities=gajax.graded(SIZE))
        for seed in range(SEEDS)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *populations)
    # The checker takes it for a use when vmap moves the axis of keys that a loop runs over.
    with jax.debug_key_reuse(not side_by_side):
        together, counts = evolved(name, keys(1), stacked, data_of_all(keys(2)))
    close = {"rtol": 1e-4, "atol": 1e-6} if side_by_side else {"rtol": 0, "atol": 0}
    for seed in range(SEEDS):
        data = DATA._replace(order_key=keys(2)[seed])
        alone, own_counts = evolved(name, keys(1)[seed], populations[seed], data)
        for found, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(found[seed], expected, **close)
        if name != "refinement":  # where a density decides how many steps an individual takes
            np.testing.assert_array_equal(counts[:, :, seed], own_counts)


def test_a_single_seed_may_have_the_axis_too():
    population = gajax.init(jax.random.key(10), draw, SIZE)
    data = DATA._replace(order_key=jax.random.key(3))
    alone, _ = evolved("ga", keys(1)[0], population, data)
    stacked = jax.tree.map(lambda leaf: leaf[None], population)
    order_keys = jax.random.key(3).reshape(1)
    together, _ = evolved("ga", keys(1)[:1], stacked, data_of_all(order_keys))
    for found, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(found[0], expected)


def test_seeds_in_a_mesh_are_refused():
    population = jnp.zeros((SEEDS, SIZE, 2))
    with on(2), pytest.raises(ValueError, match="several seeds at once must be on one device"):
        next(gajax.evolve(ALGORITHMS["ga"], keys(1), population, DATA, generations=1))
