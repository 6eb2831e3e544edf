"""Losses given from outside make the generations that the algorithm makes with its own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import BATCH, DATA, SIZE, assert_same, loss_fn, on_host, population

import gajax
from gajax import crossover, evaluation, mutation

GENERATIONS, KEY = 3, 4
OPERATORS = {
    "crossover": partial(crossover.uniform, rate=0.3),
    "mutation": partial(mutation.gaussian, rate=0.1, scale=0.1),
}
WHOLE = len(DATA.examples["inputs"])
ALGORITHMS = {
    "ga": partial(gajax.ga, survivors=5, batch_size=1, **OPERATORS),
    "nsga2": partial(gajax.nsga2, batch_size=WHOLE, **OPERATORS),
    "nsga2, stale parents": partial(gajax.nsga2, batch_size=WHOLE, stale_parents=True, **OPERATORS),
}


def told(algorithm, evaluate, data, generations=GENERATIONS):
    """The states after each generation, and how often the algorithm has asked."""
    state, position, asked = gajax.start(algorithm, KEY, population(), data), gajax.Position(0), 0
    while position.generation <= generations:
        state, individuals, position = gajax.ask(algorithm, KEY, state, position, data)
        state, position = gajax.tell(algorithm, KEY, state, position, evaluate(individuals), data)
        asked += 1
        if position.stage == 0:
            yield state, asked


@jax.jit
def losses(individuals):
    """Of all examples: those of one batch, in the order of the front's."""
    return evaluation.losses(loss_fn, individuals, DATA)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_losses_from_outside_make_the_same_generations(name):
    """Where the loss is that of a constant batch, to the bit."""

    def of_genes(params, batch):
        return jnp.sum(params["first"] ** 2) + jnp.abs(params["second"] - 1).sum()

    options = {"optimizer": optax.sgd(0.01)} if name == "ga" else {}
    of = ALGORITHMS[name](of_genes, **options)
    by_outside = of if name == "ga" else ALGORITHMS[name](None)
    traced = on_host(gajax.evolve(of, KEY, population(), DATA, generations=GENERATIONS))
    evaluate = jax.jit(lambda individuals: jax.vmap(partial(of_genes, batch=None))(individuals))
    outside = list(told(by_outside, lambda tree: np.asarray(evaluate(tree)), DATA))
    assert len(traced) == len(outside) == GENERATIONS + 1
    for (expected, _), (state, _) in zip(traced, outside, strict=True):
        for field in ("params", "loss", "failed"):
            assert_same(getattr(expected, field), jax.device_get(getattr(state, field)))
    times = {"nsga2": 2 * GENERATIONS + 1}.get(name, GENERATIONS + 1)
    assert outside[-1][1] == times
    assert outside[-1][0].loss.min() < outside[0][0].loss.min()


def test_without_a_loss_those_from_outside_evolve_the_population():
    def evaluate(individuals):  # in plain Python
        return [float(np.abs(first - 0.5).sum()) for first in np.asarray(individuals["first"])]

    losses = [state.loss.min() for state, _ in told(ALGORITHMS["ga"](None), evaluate, DATA, 5)]
    assert (np.diff(losses) <= 0).all() and losses[-1] < losses[0]


def test_survivors_learn_by_the_loss_of_the_algorithm_and_rank_by_those_told():
    algorithm = gajax.ga(loss_fn, optimizer=optax.sgd(0.01), survivors=5, batch_size=BATCH)
    traced = on_host(gajax.evolve(algorithm, KEY, population(), DATA, generations=GENERATIONS))
    outside = [jax.device_get(state) for state, _ in told(algorithm, losses, DATA)]
    for (expected, _), state in zip(traced, outside, strict=True):
        np.testing.assert_allclose(state.loss, expected.loss, rtol=1e-5)


def test_gradients_guide_where_losses_are_told():
    algorithm = gajax.gemonn(loss_fn, batch_size=WHOLE)
    traced = on_host(gajax.evolve(algorithm, KEY, population(), DATA, generations=1))
    outside = [jax.device_get(state) for state, _ in told(algorithm, losses, DATA, 1)]
    np.testing.assert_allclose(outside[-1].loss, traced[-1][0].loss, rtol=1e-5)
    assert_same(outside[-1].signs, traced[-1][0].signs)


def test_a_state_can_be_asked_and_told_again():
    algorithm = ALGORITHMS["ga"](None)
    state = gajax.start(algorithm, KEY, population(), DATA)
    first = gajax.ask(algorithm, KEY, state, gajax.Position(0), DATA)
    again = gajax.ask(algorithm, KEY, state, gajax.Position(0), DATA)
    assert_same(jax.device_get(first[1]), jax.device_get(again[1]))
    one, other = (
        gajax.tell(algorithm, KEY, first[0], first[2], losses(first[1]), DATA)[0] for _ in range(2)
    )
    assert_same(jax.device_get(one), jax.device_get(other))


def test_individuals_with_bad_genes_or_losses_have_failed():
    algorithm = ALGORITHMS["ga"](None)
    start = population()
    start = {**start, "first": start["first"].at[3].set(jnp.nan)}
    state = gajax.start(algorithm, KEY, start)
    state, individuals, position = gajax.ask(algorithm, KEY, state, gajax.Position(0))
    loss = np.arange(SIZE, dtype=float)
    loss[0] = np.inf
    state, position = gajax.tell(algorithm, KEY, state, position, loss)
    assert position == gajax.Position(1) and state.failed == 2
    np.testing.assert_array_equal(state.loss[:-2], [1, 2, *range(4, SIZE)])


@pytest.mark.parametrize(
    "loss, message",
    [(np.zeros(SIZE - 1), r"shape \(16,\), not \(15,\)"), (0.0, r"shape \(16,\), not \(\)")],
)
def test_there_must_be_a_loss_for_each(loss, message):
    algorithm = ALGORITHMS["ga"](None)
    state = gajax.start(algorithm, KEY, population())
    state, _, position = gajax.ask(algorithm, KEY, state, gajax.Position(0))
    with pytest.raises(ValueError, match=message):
        gajax.tell(algorithm, KEY, state, position, loss)


def test_what_cannot_be_asked_or_told_is_said():
    descent = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=BATCH)
    state = gajax.start(descent, KEY, population(), DATA)
    with pytest.raises(ValueError, match="takes none from outside"):
        gajax.ask(descent, KEY, state, gajax.Position(1), DATA)
    with pytest.raises(ValueError, match="no generation 0"):
        gajax.ask(descent, KEY, state, gajax.Position(0), DATA)
    algorithm = ALGORITHMS["ga"](None)
    state = gajax.start(algorithm, KEY, population())
    with pytest.raises(ValueError, match="must be one that ask gave"):
        gajax.tell(algorithm, KEY, state, gajax.Position(1), np.zeros(SIZE))
    with pytest.raises(ValueError, match="loss_fn must be given"):
        next(gajax.evolve(algorithm, KEY, population(), DATA, generations=1))
