"""What users pass in many forms: keys, predicates, models of Flax NNX, large genes."""

import re
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import gajax
from gajax.individual import leaf_mask

SIZE = 4
ADAM = optax.adam(0.05)


def loss_fn(params, batch):
    return jnp.mean((batch[:, :3] @ params["kernel"] + params["bias"] - batch[:, 3]) ** 2)


def population():
    kernel = jax.random.normal(jax.random.key(1), (SIZE, 3))
    return {"kernel": kernel, "bias": jnp.ones(SIZE)}


def examples():
    return np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


@contextmanager
def legacy_keys_allowed():
    before = jax.config.jax_legacy_prng_key
    jax.config.update("jax_legacy_prng_key", "allow")
    yield
    jax.config.update("jax_legacy_prng_key", before)


def legacy(number):
    with legacy_keys_allowed():
        return jax.random.PRNGKey(number)


KEYS = {
    "typed": jax.random.key,
    "number": int,
    "numpy number": np.int64,
    "legacy": legacy,
    "legacy in numpy": lambda number: np.asarray(legacy(number)),
}
MADE = gajax.ga(loss_fn, optimizer=ADAM, survivors=2, batch_size=8)


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind_give_the_same_run(kind):
    make = KEYS[kind]
    expected, state = (
        [
            jax.device_get(state.params)
            for state, _ in gajax.evolve(
                MADE, key(3), population(), gajax.Data(examples(), key(4)), generations=2
            )
        ][-1]
        for key in (jax.random.key, make)
    )
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_arrays_of_keys_are_seeds_whatever_their_kind():
    keys = np.stack([np.asarray(legacy(number)) for number in (3, 9)])
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), population())
    seeds = gajax.Data(examples()[None], keys)
    *_, (state, info) = gajax.evolve(MADE, keys, stacked, seeds, generations=1)
    assert info.loss.shape == (2, SIZE)
    typed = jnp.stack([jax.random.key(number) for number in (3, 9)])
    again = gajax.evolve(MADE, typed, stacked, seeds._replace(order_key=typed), generations=1)
    *_, (expected, _) = again
    jax.tree.map(np.testing.assert_array_equal, state.params, expected.params)


@pytest.mark.parametrize("key", [0.5, None, "7", True, np.zeros(3), jnp.zeros(2, jnp.int32)])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="a key must be a whole number or made by jax.random.key"):
        gajax.evolve(MADE, key, population(), gajax.Data(examples(), 0), generations=1)
    with pytest.raises(ValueError, match="a key must be"):
        gajax.evolve(MADE, 0, population(), gajax.Data(examples(), key), generations=1)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(64, 32, rngs=rngs)
        layers = getattr(nnx, "List", list)  # nnx.List came with Flax 0.12, which needs it
        self.layers = layers([nnx.Linear(32, 10, rngs=rngs)])


def test_leaves_of_flax_nnx_have_the_names_of_their_variables():
    model = nnx.split(Net(nnx.Rngs(0)))[1]
    names = []
    leaf_mask(model, lambda path, leaf: bool(names.append(path)) or True)
    assert sorted(names) == ["first/bias", "first/kernel", "layers/0/bias", "layers/0/kernel"]

    def weights(path, leaf):
        return path.endswith("kernel")

    started = gajax.init(
        0,
        lambda key: nnx.split(Net(nnx.Rngs(params=key)))[1],
        8,
        densities=gajax.linear_densities(8),
        may_be_zero=weights,
    )
    kernel = np.asarray(jax.tree.leaves(started["first"]["kernel"])[0])
    np.testing.assert_allclose((kernel != 0).mean(axis=(1, 2)), np.arange(1, 9) / 8, atol=0.05)
    copies = gajax.sparse_copies(0, model, 8, may_be_zero=weights)
    kernels = jax.tree.leaves((copies["first"]["kernel"], copies["layers"][0]["kernel"]))
    kept = sum(np.asarray(leaf != 0).reshape(8, -1).sum(axis=1) for leaf in kernels)
    np.testing.assert_array_equal(kept, 2368 * np.arange(1, 9) // 8)


def test_a_key_of_a_dictionary_is_no_variable_of_nnx():
    names = []
    leaf_mask({"a": {"value": jnp.ones(2)}}, lambda path, _: bool(names.append(path)) or True)
    assert names == ["a/value"]


@pytest.mark.parametrize("predicate", [re.compile("kernel$").search, re.compile("ker").match])
def test_predicates_may_return_anything_that_is_true_or_false(predicate):
    mask = leaf_mask(population(), lambda path, leaf: predicate(path))
    assert mask == {"kernel": True, "bias": False}
    sparse = gajax.sparse(ADAM, may_be_zero=lambda path, leaf: predicate(path))
    sparse.update(population(), sparse.init(population()), population())


def test_a_predicate_that_holds_for_no_leaf_is_refused_with_the_names():
    wanted = r"must hold for a leaf, of which there are \['bias', 'kernel'\]"
    with pytest.raises(ValueError, match=wanted):
        gajax.sparse_copies(0, gajax.take(population(), 0), 4, may_be_zero=lambda path, _: False)


def test_genes_have_no_bound_unless_there_is_one():
    """A linear fit whose best weights are 25, 50 and 75."""
    inputs = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    targets = inputs @ np.array([25.0, 50.0, 75.0], np.float32)
    rows = np.concatenate([inputs, targets[:, None]], axis=1)

    def draw(key):
        return {"kernel": jax.random.normal(key, (3,)), "bias": jnp.float32(1)}

    refine = gajax.Refine(gajax.sparse(optax.adam(1.0)), steps=5)
    made = gajax.gemonn(loss_fn, batch_size=20, refine=refine)
    started = gajax.init(2, draw, 8)
    *_, (state, info) = gajax.evolve(made, 3, started, gajax.Data(rows, 4), generations=60)
    assert info.loss.min() < 700
    assert np.abs(state.params["kernel"]).max() > 10
