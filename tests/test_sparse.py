"""Sparse gradient steps: zeros stay zero, the other genes move as if the zeros were not there."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gajax import sparse
from gajax.individual import all_but_biases
from gajax.sparsity import highest, scale_by_density

OPTIMIZERS = {
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.05),
    "decay": optax.adamw(0.05, weight_decay=0.3),
    "clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)),
    "schedule": optax.adam(optax.linear_schedule(0.1, 0.01, 4)),
}
STEPS = 5
START = {"a": jnp.array([[0.5, 0.0, -1.0], [0.0, 2.0, -0.0]]), "b": (jnp.array([0.0, 3.0]),)}
ALIVE = jax.tree.map(lambda leaf: np.asarray(leaf) != 0, START)


def gradients(dead):
    """A gradient for each step, with the value `dead` where the gene is zero at the start."""
    for step in range(STEPS):
        keys = jax.random.split(jax.random.key(step))
        drawn = {"a": jax.random.normal(keys[0], (2, 3)), "b": (jax.random.normal(keys[1], (2,)),)}
        yield jax.tree.map(lambda leaf, alive: jnp.where(alive, leaf, dead), drawn, ALIVE)


def descend(optimizer, params, gradients, jit=False):
    update = jax.jit(optimizer.update) if jit else optimizer.update
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def alive(tree):
    """The genes that are not zero at the start, as a vector."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(ALIVE), strict=True)
    return jnp.concatenate([leaf[mask] for leaf, mask in pairs])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_genes_move_as_if_the_zeros_were_not_there(name, jit):
    end = descend(sparse(OPTIMIZERS[name]), START, gradients(dead=1e6), jit)
    wanted = descend(OPTIMIZERS[name], alive(START), map(alive, gradients(dead=1e6)))
    np.testing.assert_allclose(alive(end), wanted, rtol=1e-5)
    assert (np.asarray(wanted) != np.asarray(alive(START))).all()
    for leaf, mask in zip(jax.tree.leaves(end), jax.tree.leaves(ALIVE), strict=True):
        assert (np.asarray(leaf)[~mask] == 0).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_genes_move_exactly_as_on_the_masked_gradient(name):
    end = descend(sparse(OPTIMIZERS[name]), START, gradients(dead=jnp.nan))
    wanted = descend(OPTIMIZERS[name], START, gradients(dead=0.0))
    np.testing.assert_array_equal(alive(end), alive(wanted))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gene_that_becomes_zero_is_not_revived(name):
    optimizer = sparse(OPTIMIZERS[name])
    params, state = START, optimizer.init(START)
    for step, gradient in enumerate(gradients(dead=1.0)):
        if step == 2:
            params = {"a": params["a"].at[1, 1].set(0), "b": params["b"]}
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    assert params["a"][1, 1] == 0
    assert params["a"][0, 0] not in (0, START["a"][0, 0])


def test_individuals_of_a_population_are_clipped_by_themselves():
    optimizer = sparse(OPTIMIZERS["clipped"])
    population = jnp.array([[1.0, 2.0], [1.0, 0.0]])
    gradient = jnp.array([[300.0, 400.0], [0.1, 1e9]])
    state = jax.vmap(optimizer.init)(population)
    updates, _ = jax.vmap(optimizer.update)(gradient, state, population)
    np.testing.assert_allclose(updates, [[-0.03, -0.04], [-0.01, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_leaves_that_may_not_become_zero_learn_from_zero_on(name):
    def may_be_zero(path, leaf):
        return path == "b/0" and leaf.shape == (2,)

    optimizer = sparse(OPTIMIZERS[name], may_be_zero=may_be_zero)
    end = descend(optimizer, START, gradients(dead=0.5))
    masked = (
        {"a": gradient["a"], "b": (gradient["b"][0].at[0].set(0),)}
        for gradient in gradients(dead=0.5)
    )
    wanted = descend(OPTIMIZERS[name], START, masked)
    np.testing.assert_array_equal(end["a"], wanted["a"])
    assert (np.asarray(end["a"]) != 0).all(), "what starts at zero moves"
    assert end["b"][0][0] == 0 and end["b"][0][1] == wanted["b"][0][1]


def test_predicates_look_at_the_leaves_of_one_individual():
    optimizer = sparse(optax.sgd(1.0), may_be_zero=lambda path, leaf: leaf.ndim == 1)
    population = {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(3)}
    gradient = jax.tree.map(jnp.ones_like, population)
    state = jax.vmap(optimizer.init)(population)
    updates, _ = jax.vmap(optimizer.update)(gradient, state, population)
    assert (updates["kernel"] == 0).all() and (updates["bias"] == -1).all()


def test_parameters_are_required():
    optimizer = sparse(optax.sgd(0.1))
    with pytest.raises(ValueError, match="parameters"):
        optimizer.update(START, optimizer.init(START))


@pytest.mark.parametrize("count", [0, 1, 3, 5, 9])
def test_highest_counts_ties_and_all_leaves_together(count):
    scores = {"a": jnp.array([[3.0, 1.0], [3.0, -1.0]]), "b": jnp.array([3.0, 0.0, jnp.inf, -0.0])}
    chosen = highest(scores | {"c": jnp.float16(jnp.nan)}, count)
    found = np.concatenate([np.ravel(chosen[name]) for name in "abc"])
    flat = np.array([3.0, 1.0, 3.0, -1.0, 3.0, 0.0, np.inf, 0.0, -np.inf])
    assert found.dtype == bool
    np.testing.assert_array_equal(
        np.flatnonzero(found), np.sort(np.argsort(-flat, stable=True)[:count])
    )


def test_highest_is_what_sorting_gives_for_each_individual_of_a_population():
    key_scores, key_ties = jax.random.split(jax.random.key(3))
    plain = jax.random.normal(key_scores, (4, 30, 11))
    ties = jax.random.randint(key_ties, (4, 70), -2, 3).astype(jnp.bfloat16)
    counts = jnp.array([1, 200, 399, 400])
    chosen = jax.vmap(highest)({"a": plain, "b": ties}, counts)
    found = np.concatenate([np.reshape(chosen[name], (4, -1)) for name in "ab"], axis=1)
    flat = np.concatenate(
        [np.asarray(part, np.float64).reshape(4, -1) for part in (plain, ties)], 1
    )
    for row, scores, count in zip(found, flat, np.asarray(counts), strict=True):
        wanted = np.sort(np.argsort(-scores, stable=True)[:count])
        np.testing.assert_array_equal(np.flatnonzero(row), wanted)


@pytest.mark.parametrize(("nonzero", "rate"), [(100, 0.01), (10, 0.1), (1, 1.0), (0, 1.0)])
def test_the_rate_rises_log_linearly_with_sparsity(nonzero, rate):
    """From .01 at density 1 to 1 at .01, the lowest density of 100 weights; biases do not count."""
    kernel = jnp.zeros(100).at[:nonzero].set(2.0)
    params = {"kernel": kernel.reshape(20, 5), "bias": jnp.ones(7, jnp.bfloat16)}
    by_density = scale_by_density(0.01, 1.0, at=0.01, may_be_zero=all_but_biases)
    updates = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3), params)
    scaled, _ = by_density.update(updates, by_density.init(params), params)
    for name, leaf in params.items():
        assert scaled[name].dtype == leaf.dtype
        tolerance = {"kernel": 1e-5, "bias": 1e-2}[name]
        np.testing.assert_allclose(np.asarray(scaled[name], np.float32), -3 * rate, rtol=tolerance)


def test_the_rate_by_density_needs_the_parameters():
    with pytest.raises(ValueError, match="scale_by_density needs the parameters"):
        scale_by_density(0.01, 1.0).update(START, optax.EmptyState())
