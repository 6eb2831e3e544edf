"""Numbers that are not finite: whoever has them dies, and everybody else evolves."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import evaluation, selection

SIZE, SURVIVORS, EXAMPLES, BATCH = 8, 4, 40, 8
ADAM = optax.adam(0.02)
REFINE = gajax.Refine(gajax.sparse(ADAM), steps=2)
BAD = {"nan": jnp.nan, "inf": jnp.inf}


def loss_fn(params, batch):
    """A unit that is off hides what feeds it."""
    hidden = batch["inputs"] @ params["first"] + params["bias"]
    outputs = jnp.where(hidden > 0, hidden, 0) @ params["second"]
    return jnp.mean((outputs - batch["targets"]) ** 2)


GA = partial(gajax.ga, survivors=SURVIVORS, optimizer=ADAM, score_examples=2 * BATCH)
EVOLUTIONS = {
    "ga": GA,
    "ga, tournament": partial(GA, selection=selection.tournament),
    "nsga2": gajax.nsga2,
    "nsga2, stale parents": partial(gajax.nsga2, stale_parents=True),
    "gemonn": partial(gajax.gemonn, refine=REFINE),
}
DESCENTS = {
    "gradient": partial(gajax.gradient, optimizer=ADAM),
    "refinement": partial(
        gajax.refinement, optimizer=ADAM, steps=20, score_examples=2 * BATCH, checks=4
    ),
}


def draw(size=SIZE):
    keys = jax.random.split(jax.random.key(0))
    return {
        "first": jax.random.normal(keys[0], (size, 5, 6)) / 2,
        "bias": jnp.full((size, 6), 0.1),
        "second": jax.random.normal(keys[1], (size, 6)) / 2,
    }


def data(bad=None, count=0):
    """Examples, the last `count` of which hold a number that is not finite."""
    inputs = jax.random.normal(jax.random.key(2), (EXAMPLES, 5))
    examples = {"inputs": inputs, "targets": jnp.tanh(inputs[:, 0])}
    if count:
        examples["inputs"] = inputs.at[-count:, 0].set(BAD[bad])
    return gajax.Data(examples, jax.random.key(3))


def evolve(algorithm, population, data, generations):
    """The state and info of every step, on the host."""
    steps = gajax.evolve(algorithm, jax.random.key(4), population, data, generations=generations)
    return [(jax.device_get(state), info) for state, info in steps]


@cache
def algorithm(name):
    """One whose generations are cut into several steps where they can be."""
    make = (EVOLUTIONS | DESCENTS)[name]
    return make(loss_fn, batch_size=BATCH, examples_per_step=SURVIVORS * BATCH)


def state_of(step):
    """What goes on from one generation to the next."""
    state, _ = step
    return [state.params, *(getattr(state, name, ()) for name in ("optimizer_state", "guide"))]


def ends(steps):
    return [step for step in steps if step[1].done]


def finite(tree):
    """Whether all of each individual's numbers are finite."""
    leaves = [
        np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in jax.tree.leaves(tree)
    ]
    return np.all(leaves, axis=0)


def on_clean(params):
    """Losses on all examples, none of them bad."""
    params = jax.tree.map(jnp.asarray, params)
    return np.asarray(evaluation.losses(loss_fn, params, data()))


def poisoned(kind, count):
    """A population whose first individuals are not finite, and whether each of them is."""
    population, sick = draw(), jnp.arange(SIZE) < count
    if kind == "hidden":  # behind a unit that is off, so that the loss is finite
        population["bias"] = population["bias"].at[:count, 0].set(-jnp.inf)
        assert np.isfinite(jax.vmap(loss_fn, (0, None))(population, data().examples)).all()
    else:
        population["first"] = population["first"].at[:count, 0, 0].set(BAD[kind])
    return population, np.asarray(sick)


@pytest.mark.parametrize("kind", [*BAD, "hidden"])
def test_an_individual_with_a_bad_gene_has_no_loss(kind):
    population, sick = poisoned(kind, 3)
    examples = data().examples
    gradients = jax.value_and_grad(loss_fn)
    states = jax.vmap(ADAM.init)(population)
    order = jnp.arange(EXAMPLES).reshape(-1, BATCH)
    for losses in (
        evaluation.losses(loss_fn, population, data()),
        evaluation.batch_losses(loss_fn, population, examples),
        evaluation.batch_losses_and_signs(gradients, population, examples)[0],
        evaluation.gradient_steps(gradients, ADAM, population, states, data(), order, 0, 2)[2],
    ):
        np.testing.assert_array_equal(np.isfinite(losses), ~sick)


@pytest.mark.parametrize("chunk_size", [1, SIZE])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_batch_teaches_nothing(bad, chunk_size):
    """Momentum alone moves on, and is not lost for ever."""
    train = partial(evaluation.gradient_steps, jax.value_and_grad(loss_fn), optax.sgd(0.1, 0.9))
    states = jax.vmap(optax.sgd(0.1, 0.9).init)(draw())
    order = jnp.array([[0, 1], [2, EXAMPLES - 1], [3, 4]])
    start = draw(), states, data(bad, 1), order
    params, state, _ = train(*start, 0, 1, chunk_size=chunk_size)
    rolled = jax.tree.map(lambda leaf, trace: leaf - 0.09 * trace, params, state[0].trace)
    params, state, total = train(params, state, *start[2:], 1, 2, chunk_size=chunk_size)
    assert finite((params, state)).all()
    if bad == "inf":  # a unit that is off hides NaN from the loss, though not from its gradient
        assert not np.isfinite(total).any()
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), params, rolled)


@pytest.mark.parametrize("count", [1, 5, 7])
@pytest.mark.parametrize("name", EVOLUTIONS)
def test_poisoned_individuals_die_childless_and_the_rest_evolve(name, count):
    kind = {1: "hidden", 5: "nan", 7: "inf"}[count]
    population, sick = poisoned(kind, count)
    (_, first), *others = ends(evolve(algorithm(name), population, data(), 5))
    np.testing.assert_array_equal(np.isfinite(first.loss), np.arange(SIZE) < SIZE - count)
    assert first.failed == count
    # All children are whole, so the dead keep no place but where survivors are too few.
    most = max(0, SURVIVORS - (SIZE - count)) if name.startswith("ga") else 0
    for state, info in others:
        np.testing.assert_array_equal(finite(state.params), np.isfinite(info.loss))
        assert finite(state.params).sum() >= SIZE - most
        assert info.failed <= most
    assert all(finite(tree).all() for tree in state_of(others[-1]))
    born, start = others[-1][0].params["first"], population["first"][~sick]
    is_old = (born[:, None] == start).all(axis=(2, 3)).any(axis=1)
    assert not is_old.all(), "children have survived"
    if name.startswith("ga"):
        assert on_clean(others[-1][0].params).min() < 0.98 * on_clean(population)[~sick].min()


@pytest.mark.parametrize("bad, count", [("nan", 1), ("inf", 3)])
@pytest.mark.parametrize("name", [*EVOLUTIONS, *DESCENTS])
def test_bad_examples_poison_nobody(name, bad, count):
    generations = 1 if name == "refinement" else 6
    steps = evolve(algorithm(name), draw(), data(bad, count), generations)
    for state, _ in steps:
        assert finite(state.params).all()
    state, info = steps[-1]
    assert all(finite(tree).all() for tree in state_of(steps[-1]))
    before, after = on_clean(draw()), on_clean(state.params)
    if name in DESCENTS:
        assert (after < before).all()
    assert np.median(after) < 0.95 * np.median(before)
    if name != "gradient":  # whose loss is the mean over all batches
        assert np.isfinite(info.loss).all()


@pytest.mark.parametrize("name", ["nsga2", "nsga2, stale parents", "gemonn"])
def test_a_front_outlives_a_batch_that_is_bad(name):
    """Nobody has a finite loss there, so all the children die and the parents stay as they were."""
    made = algorithm(name)
    found = ends(evolve(made, draw(), data("inf", 1), 6))
    lost = [bool(info.failed) for _, info in found]
    assert any(lost[1:])
    for (before, _), (state, info) in zip(found, found[1:], strict=False):
        if info.failed:
            assert info.failed == SIZE
            for tree in ("params", "guide", "density", "loss", "level"):
                jax.tree.map(
                    np.testing.assert_array_equal, getattr(state, tree), getattr(before, tree)
                )


def steep(params, batch):
    """Descent on it diverges at a rate for which others are fine, where the slope is high."""
    slope = jax.lax.stop_gradient(params["slope"])
    return jnp.mean((slope * batch["inputs"] @ params["first"] - batch["targets"]) ** 2)


@pytest.mark.parametrize("work", [None, SURVIVORS * BATCH])
def test_who_diverges_dies_without_children(work):
    """Those that diverge are the best to begin with; children of theirs would diverge too."""
    made = GA(
        steep,
        optimizer=optax.sgd(0.1, 0.9),
        batch_size=BATCH,
        epochs=30,
        crossover=lambda key, first, second: (first, second),
        examples_per_step=work and 30 * work,
    )
    population = {
        "first": draw()["first"][:, :, 0].at[:2].set(0),
        "slope": jnp.ones(SIZE).at[:2].set(1e3),
    }
    (_, first), (state, info), *_ = ends(evolve(made, population, data(), 2))
    assert first.failed == 0
    assert (state.params["slope"][:-2] == 1).all(), "no child has the slope of those that died"
    np.testing.assert_array_equal(np.isfinite(info.loss), [True] * 6 + [False] * 2)
    assert info.failed == 2 and finite(state.params).all()


@pytest.mark.parametrize("name", ["nsga2", "refinement"])
def test_a_rate_at_which_everything_diverges_kills_no_parent(name):
    optimizer = gajax.sparse(optax.sgd(1e30))
    options = {"refine": gajax.Refine(optimizer, 3)}
    if name == "refinement":
        options = {"optimizer": optimizer, "steps": 20}
    made = getattr(gajax, name)(loss_fn, batch_size=BATCH, examples_per_step=1, **options)
    steps = evolve(made, draw(), data(), 1 if name == "refinement" else 3)
    assert all(finite(state.params).all() for state, _ in steps)
    assert np.isfinite(steps[-1][1].loss).all()
    failed = {}
    for _, info in steps:
        failed[int(info.generation)] = failed.get(int(info.generation), 0) + int(info.failed)
    assert len(steps) > 2 * len(failed), "several steps a generation"
    if name != "refinement":
        assert failed == {0: 0, 1: SIZE, 2: SIZE, 3: SIZE}


def test_a_parent_that_dies_is_counted_and_replaced():
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
    batches = gajax.Data(jnp.array([1.0, -1.0] * 4)[:, None], jax.random.key(3))
    weak, deadly = 3, 0
    for state, info in ends(evolve(made, population, batches, 6)):
        is_deadly = batches.examples[state.order[state.batch - 1, 0], 0] > 0
        assert info.failed == (weak if is_deadly else 0)
        weak, deadly = (state.params[:, 1] > 0).sum(), deadly + is_deadly
        assert weak == 0 or not is_deadly or info.generation == 0
    assert deadly > 1 and weak == 0


@pytest.mark.parametrize("name", ["ga", "gradient"])
def test_where_everybody_dies_all_are_counted(name):
    make = GA if name == "ga" else gajax.gradient
    made = make(loss_fn, optimizer=optax.sgd(1e30), batch_size=BATCH, examples_per_step=BATCH)
    infos = [info for _, info in ends(evolve(made, draw(), data(), 1))]
    assert infos[-1].failed == SIZE and not np.isfinite(infos[-1].loss).any()
