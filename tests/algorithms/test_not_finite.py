"""Numbers that are not finite: individuals with them are discarded, and all others evolve."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from relu_model import (
    ADAM,
    BAD,
    BATCH,
    EXAMPLES,
    GA,
    SIZE,
    SURVIVORS,
    data,
    draw,
    ends,
    evolve,
    finite,
    loss_fn,
)
from small_model import OPTIONS

import gajax
from gajax import evaluation, gradients, selection

REFINE = gajax.Refine(gajax.sparse(ADAM), steps=2)
EVOLUTIONS = {
    "ga": GA,
    "ga, tournament": partial(GA, selection=selection.tournament),
    "nsga2": partial(gajax.nsga2, **OPTIONS["nsga2"]),
    "nsga2, stale parents": partial(gajax.nsga2, stale_parents=True, **OPTIONS["nsga2"]),
    "gemonn": partial(gajax.gemonn, refine=REFINE),
}
DESCENTS = {
    "descent": partial(gajax.descent, optimizer=ADAM),
    "refinement": partial(
        gajax.refinement, optimizer=ADAM, steps=20, score_examples=2 * BATCH, checks=4
    ),
}


@cache
def algorithm(name):
    return (EVOLUTIONS | DESCENTS)[name](loss_fn, batch_size=BATCH)


def state_of(step):
    """The numbers that go on from one generation to the next."""
    state, _ = step
    return [state.params, *(getattr(state, name, ()) for name in ("optimizer_state", "guide"))]


def on_clean(params):
    """Losses on all examples, none of them bad."""
    params = jax.tree.map(jnp.asarray, params)
    return np.asarray(evaluation.losses(loss_fn, params, data()))


def damaged(kind, count):
    """A population whose first individuals are not finite, and whether each of them is."""
    population, is_bad = draw(), jnp.arange(SIZE) < count
    if kind == "hidden":  # behind a unit that is off, so that the loss is finite
        population["bias"] = population["bias"].at[:count, 0].set(-jnp.inf)
        assert np.isfinite(jax.vmap(loss_fn, (0, None))(population, data().examples)).all()
    else:
        population["first"] = population["first"].at[:count, 0, 0].set(BAD[kind])
    return population, np.asarray(is_bad)


@pytest.mark.parametrize("kind", [*BAD, "hidden"])
def test_an_individual_with_a_bad_gene_has_no_loss(kind):
    population, is_bad = damaged(kind, 3)
    examples = data().examples
    gradient_fn = jax.value_and_grad(loss_fn)
    states = jax.vmap(ADAM.init)(population)
    order = jnp.arange(EXAMPLES).reshape(-1, BATCH)
    train = gradients.gradient_steps
    for losses in (
        evaluation.losses(loss_fn, population, data()),
        evaluation.batch_losses(loss_fn, population, examples)[0].loss,
        evaluation.batch_losses(loss_fn, population, examples, gradient_fn=gradient_fn)[0].loss,
        train(gradient_fn, ADAM, population, states, data(), order, 0, 2)[2].loss,
    ):
        np.testing.assert_array_equal(np.isfinite(losses), ~is_bad)


@pytest.mark.parametrize("chunk_size", [1, SIZE])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_batch_teaches_nothing(bad, chunk_size):
    """Momentum alone moves the genes, and stays finite."""
    train = partial(gradients.gradient_steps, jax.value_and_grad(loss_fn), optax.sgd(0.1, 0.9))
    states = jax.vmap(optax.sgd(0.1, 0.9).init)(draw())
    order = jnp.array([[0, 1], [2, EXAMPLES - 1], [3, 4]])
    start = draw(), states, data(bad, 1), order
    params, state, _ = train(*start, 0, 1, chunk_size=chunk_size)
    rolled = jax.tree.map(lambda leaf, trace: leaf - 0.09 * trace, params, state[0].trace)
    params, state, total = train(params, state, *start[2:], 1, 2, chunk_size=chunk_size)
    assert finite((params, state)).all()
    if bad == "inf":  # a unit that is off hides NaN from the loss, though not from its gradient
        assert not np.isfinite(total.loss).any()
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), params, rolled)


@pytest.mark.parametrize(
    "count", [pytest.param(1, marks=pytest.mark.heavy), 5, pytest.param(7, marks=pytest.mark.heavy)]
)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.heavy] * name.startswith("nsga2"))
        for name in EVOLUTIONS
    ],
)
def test_damaged_individuals_are_discarded_without_children_and_the_others_evolve(name, count):
    kind = {1: "hidden", 5: "nan", 7: "inf"}[count]
    population, is_bad = damaged(kind, count)
    (_, first), *others = ends(evolve(algorithm(name), population, data(), 5))
    np.testing.assert_array_equal(np.isfinite(first.loss), np.arange(SIZE) < SIZE - count)
    assert first.failed == count
    # All children are finite, so a damaged one keeps its place only where survivors are too few.
    most = max(0, SURVIVORS - (SIZE - count)) if name.startswith("ga") else 0
    for state, info in others:
        np.testing.assert_array_equal(finite(state.params), np.isfinite(info.loss))
        assert finite(state.params).sum() >= SIZE - most
        assert info.failed <= most
    assert all(finite(tree).all() for tree in state_of(others[-1]))
    born, start = others[-1][0].params["first"], population["first"][~is_bad]
    is_old = (born[:, None] == start).all(axis=(2, 3)).any(axis=1)
    assert not is_old.all(), "children have survived"
    if name.startswith("ga"):
        assert on_clean(others[-1][0].params).min() < 0.98 * on_clean(population)[~is_bad].min()


@pytest.mark.parametrize("bad, count", [("nan", 1), ("inf", 3)])
@pytest.mark.parametrize("name", [*EVOLUTIONS, *DESCENTS])
def test_bad_examples_damage_no_individual(name, bad, count):
    generations = None if name == "refinement" else 6
    steps = evolve(algorithm(name), draw(), data(bad, count), generations)
    for state, _ in steps:
        assert finite(state.params).all()
    state, info = steps[-1]
    assert all(finite(tree).all() for tree in state_of(steps[-1]))
    before, after = on_clean(draw()), on_clean(state.params)
    if name in DESCENTS:
        assert (after < before).all()
    assert np.median(after) < 0.95 * np.median(before)
    if name != "descent":  # whose loss is the mean over all batches
        assert np.isfinite(info.loss).all()


@pytest.mark.parametrize("name", ["nsga2", "nsga2, stale parents", "gemonn"])
def test_a_bad_batch_changes_no_front(name):
    """No loss is finite there, so all children are discarded and the parents stay as they were."""
    made = algorithm(name)
    result = ends(evolve(made, draw(), data("inf", 1), 6))
    lost = [bool(info.failed) for _, info in result]
    assert any(lost[1:])
    for (before, _), (state, info) in zip(result, result[1:], strict=False):
        if info.failed:
            assert info.failed == SIZE
            for tree in ("params", "signs", "density", "loss", "level"):
                jax.tree.map(
                    np.testing.assert_array_equal, getattr(state, tree), getattr(before, tree)
                )


def test_a_parent_that_fails_is_counted_and_replaced():
    """Every second batch is too much for one kind of individual."""

    def loss_fn(params, batch):
        return params[0] + jnp.where((params[1] > 0) & (batch[0, 0] > 0), jnp.inf, 0)

    made = gajax.nsga2(
        loss_fn,
        batch_size=1,
        crossover=lambda key, first, second: (first, second),
        mutation=lambda key, individual: individual.at[1].set(-1),
    )
    population = jnp.ones((SIZE, 2)).at[3:, 1].set(-1)
    batches = gajax.Data(jnp.array([1.0, -1.0] * 4)[:, None], jax.random.key(4))
    order = evaluation.batch_order(batches, 0, 7, batch_size=1)[:, 0]
    weak, failures = 3, 0
    for state, info in ends(evolve(made, population, batches, 6)):
        is_too_much = batches.examples[order[info.generation], 0] > 0
        assert info.failed == (weak if is_too_much else 0)
        weak, failures = (state.params[:, 1] > 0).sum(), failures + is_too_much
        assert weak == 0 or not is_too_much or info.generation == 0
    assert failures > 1 and weak == 0
