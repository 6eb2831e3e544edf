"""The order of the batches: epochs of all examples, the same however the batches are asked for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from gajax import evaluation


def data(examples, seed=0):
    return gajax.Data({"inputs": jnp.arange(examples)}, jax.random.key(seed))


@partial(jax.jit, static_argnums=(0, 2, 3, 4))
def compiled(examples, first, count, batch_size, seed):
    return evaluation.batch_order(data(examples, seed), first, count, batch_size=batch_size)


def order_of(examples, first, count, *, batch_size=4, seed=0):
    return np.asarray(compiled(examples, first, count, batch_size, seed))


@pytest.mark.parametrize("examples", [4, 12, 14, 15])
def test_no_epoch_has_an_example_twice_and_the_last_incomplete_batch_is_left_out(examples):
    per_epoch = examples // 4
    epochs = order_of(examples, 0, 20 * per_epoch).reshape(20, 4 * per_epoch)
    for epoch in epochs:
        assert len(set(epoch)) == 4 * per_epoch and set(epoch) <= set(range(examples))
    assert set(np.ravel(epochs)) == set(range(examples)), "the examples left out change"


def test_epochs_differ_and_none_is_in_the_order_of_the_data():
    epochs = order_of(14, 0, 60).reshape(20, 12)
    assert len({tuple(epoch) for epoch in epochs}) == 20
    assert not (np.diff(epochs) > 0).all(axis=1).any()


@pytest.mark.parametrize("first, count", [(0, 3), (2, 3), (5, 7), (8, 1)])
def test_batches_do_not_depend_on_how_they_are_asked_for(first, count):
    whole = order_of(14, 0, 12)
    np.testing.assert_array_equal(order_of(14, first, count), whole[first : first + count])
    single = evaluation.batch_order(data(14), first, 1, batch_size=4)
    np.testing.assert_array_equal(single, whole[first : first + 1])


def test_the_order_key_alone_decides_the_order():
    other = data(14)._replace(examples={"inputs": -jnp.ones((14, 2))}, shared=(jnp.ones(3),))
    same = evaluation.batch_order(other, 0, 3, batch_size=4)
    np.testing.assert_array_equal(same, order_of(14, 0, 3))
    assert (order_of(14, 0, 3, seed=1) != order_of(14, 0, 3)).any()


def test_batches_far_behind_the_first_epochs_are_as_good():
    epochs = order_of(14, 3_000_000, 30).reshape(10, 12)
    assert all(len(set(epoch)) == 12 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10
