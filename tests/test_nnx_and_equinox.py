"""Modules of Flax NNX and Equinox taken apart and put together again compute what they did."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gajax
from gajax import models

INPUTS = jax.random.normal(jax.random.key(0), (6, 3))
ONE, OTHER = jax.random.split(jax.random.key(1))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.norm = nnx.Linear(3, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, inputs):
        return self.dropout(self.norm(self.linear(inputs)))


def of_equinox(key):
    return eqx.nn.Sequential([eqx.nn.Linear(3, 8, key=key), eqx.nn.Dropout(0.5)])


def with_state(key):
    norm = eqx.nn.BatchNorm(3, "batch", mode="batch")
    return eqx.nn.Sequential([norm, eqx.nn.Linear(3, 2, key=key)])


def called(network, individual, key, is_training=True):
    """Outputs, and the module that gave them."""
    context = gajax.Context(key, individual.state, (), is_training)
    module = network.merge(individual.params, context)
    if isinstance(module, nnx.Module):
        return module(INPUTS), module
    keys = jax.random.split(jax.random.key(2) if key is None else key, len(INPUTS))
    return jax.vmap(lambda row, key: module(row, key=key))(INPUTS, keys), module


NETWORKS = {"nnx": lambda: models.nnx(Network), "equinox": lambda: models.equinox(of_equinox)}


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_follows_the_key_and_the_mode(name):
    network = NETWORKS[name]()
    individual = network.init(jax.random.key(3))
    first, second, third = (
        called(network, individual, jax.random.clone(key))[0] for key in (ONE, ONE, OTHER)
    )
    np.testing.assert_array_equal(first, second)
    assert ((first == 0) != (third == 0)).any() and (first == 0).any()
    scored, _ = called(network, individual, None, is_training=False)
    assert (scored != 0).all()
    again, _ = called(network, individual, jax.random.clone(OTHER), is_training=False)
    np.testing.assert_array_equal(scored, again)


def test_a_module_of_nnx_computes_what_it_did():
    module = Network(nnx.Rngs(jax.random.key(3)))
    network = models.nnx(Network)
    individual = network.init(jax.random.key(3))
    merged = network.merge(individual.params, gajax.Context(None, individual.state, (), False))
    module.eval()
    np.testing.assert_allclose(merged(INPUTS), module(INPUTS), rtol=1e-6)
    leaves = gajax.individual.leaves_by_path(individual.params)
    assert set(leaves) == {"linear/kernel", "linear/bias", "norm/scale", "norm/bias"}


def test_statistics_of_nnx_are_the_state_that_training_changes():
    network = models.nnx(Network)
    individual = network.init(jax.random.key(3))
    _, trained = called(network, individual, jax.random.clone(ONE))
    hidden = INPUTS @ trained.linear.kernel[...] + trained.linear.bias[...]
    state = gajax.individual.leaves_by_path(network.state(trained))
    assert set(state) == {"norm/mean", "norm/var"}
    np.testing.assert_allclose(state["norm/mean"], 0.01 * hidden.mean(axis=0), rtol=1e-4, atol=1e-7)
    _, scored = called(network, individual, None, is_training=False)
    jax.tree.map(np.testing.assert_array_equal, network.state(scored), individual.state)


def test_genes_of_equinox_are_its_floating_point_arrays():
    network = models.equinox(of_equinox)
    individual = network.init(ONE)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(individual.params)) == [(8,), (8, 3)]
    expected = jax.vmap(of_equinox(jax.random.clone(ONE))[0])(INPUTS)
    result, _ = called(network, individual, None, is_training=False)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    doubled = individual._replace(params=jax.tree.map(lambda leaf: 2 * leaf, individual.params))
    result, _ = called(network, doubled, None, is_training=False)
    np.testing.assert_allclose(result, 2 * expected, rtol=1e-6)


def test_a_module_of_equinox_with_a_state_gives_the_next_one():
    network = models.equinox(eqx.nn.make_with_state(with_state))
    individual = network.init(jax.random.key(3))
    module = network.merge(individual.params, gajax.Context(None, individual.state, (), True))
    run = jax.vmap(module, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    outputs, state = run(INPUTS, individual.state)
    assert outputs.shape == (6, 2) and jnp.isfinite(outputs).all()
    assert jax.tree.structure(state) == jax.tree.structure(individual.state)
    pairs = zip(*map(jax.tree.leaves, (state, individual.state)), strict=True)
    assert any((new != old).any() for new, old in pairs)


def test_a_module_of_nnx_is_merged_without_a_context_unless_it_keeps_a_state():
    plain = gajax.models.nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    individual = plain.init(jax.random.key(0))
    inputs = jnp.ones((4, 3))
    expected = inputs @ individual.params["kernel"] + individual.params["bias"]
    np.testing.assert_allclose(plain.merge(individual.params)(inputs), expected, rtol=1e-6)
    dropped = gajax.models.nnx(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    merged = dropped.merge(dropped.init(jax.random.key(0)).params)
    np.testing.assert_array_equal(merged(inputs), inputs)
    normed = gajax.models.nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs))
    with pytest.raises(ValueError, match="^merge needs a context with the state of the module"):
        normed.merge(normed.init(jax.random.key(0)).params)
