"""Several seeds at once come to what each comes to by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_model import DATA, SIZE, loss_fn, make, population
from test_sharding import on

import gajax
from gajax import seeds

SEEDS = 3
# One individual after another, so that no product is larger for many seeds than for one.
ALGORITHMS = {name: make(name, loss_fn, chunk_size=1) for name in ("ga", "gemonn", "refinement")}
HEAVY = pytest.mark.heavy


def keys(number):
    """Keys of all seeds, drawn anew so that none is used twice."""
    return jax.random.split(jax.random.key(number), SEEDS)


def data_of_all(order_keys):
    """One data set for all seeds, in an order of each one's own."""
    return gajax.Data(jax.tree.map(lambda leaf: leaf[None], DATA.examples), order_keys)


def evolved(name, key, population, data):
    """Parameters and losses at the end, and what the infos count along the way."""
    steps = gajax.evolve(ALGORITHMS[name], key, population, data, generations=2)
    counts = []
    for state, info in steps:  # noqa: B007
        counts.append((info.gradient_examples, info.forward_examples, info.failed))
    return jax.device_get((state.params, info.loss)), np.array(counts)


@pytest.mark.parametrize("side_by_side", [pytest.param(False, marks=HEAVY), True])
@pytest.mark.parametrize("name", ["ga", pytest.param("gemonn", marks=HEAVY), "refinement"])
def test_seeds_together_equal_seeds_alone(name, side_by_side, monkeypatch):
    monkeypatch.setattr(seeds, "_side_by_side", lambda: side_by_side)
    jax.clear_caches()
    populations = [population(10 + seed) for seed in range(SEEDS)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *populations)
    # The checker takes it for a use when vmap or a loop moves the axis of keys.
    with jax.debug_key_reuse(False):
        together, counts = evolved(name, keys(1), stacked, data_of_all(keys(2)))
    close = {"rtol": 1e-4, "atol": 1e-6} if side_by_side else {"rtol": 0, "atol": 0}
    for seed in range(SEEDS):
        data = DATA._replace(order_key=keys(2)[seed])
        alone, expected_counts = evolved(name, keys(1)[seed], populations[seed], data)
        for leaf, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(leaf[seed], expected, **close)
        np.testing.assert_array_equal(counts[..., seed], expected_counts)


def test_a_single_seed_may_have_the_axis_too():
    data = DATA._replace(order_key=jax.random.key(3))
    alone, _ = evolved("refinement", keys(1)[0], population(10), data)
    stacked = jax.tree.map(lambda leaf: leaf[None], population(10))
    order_keys = jax.random.key(3).reshape(1)
    with jax.debug_key_reuse(False):
        together, _ = evolved("refinement", keys(1)[:1], stacked, data_of_all(order_keys))
    for leaf, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(leaf[0], expected)


def test_seeds_in_a_mesh_are_refused():
    population = jnp.zeros((SEEDS, SIZE, 2))
    with on(2), pytest.raises(ValueError, match="several seeds at once must be on one device"):
        gajax.evolve(ALGORITHMS["ga"], keys(1), population, DATA, generations=1)
