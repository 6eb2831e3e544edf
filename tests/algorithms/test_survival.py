"""Mating and survival in the evolution of a front, on problems whose outcome is known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import OPTIONS, on_host

import gajax
from gajax import evaluation

SIZE = 8


def evolve(made, population, examples, generations, seed=0):
    """The states at the ends of all generations, on the host."""
    key, data = jax.random.key(seed), gajax.Data(examples, jax.random.key(1))
    steps = on_host(gajax.evolve(made, key, population, data, generations=generations))
    return [state for state, _ in steps]


def batches(examples, generation, batch_size, steps=0):
    """The batch that judges a generation, then those that its children learn from.

    Each generation takes its batches from one epoch, in which no example comes twice.
    """
    per_epoch = len(examples) // batch_size
    count = min(per_epoch, 1 + steps)
    epoch, index = divmod(generation, per_epoch // count)
    data = gajax.Data(examples, jax.random.key(1))
    first = epoch * per_epoch + index * count
    return np.asarray(evaluation.batch_order(data, first, count, batch_size=batch_size))


def unchanged(key, first, second, *signs):
    """Children that are their parents."""
    del key, signs
    return first, second


def kept(key, individual):
    """Mutates nothing."""
    del key
    return individual


def first_gene(params, batch):
    return params[0] + 0 * jnp.sum(batch)


def test_each_individual_enters_two_tournaments_and_mates_as_often_as_it_wins():
    """Genes: loss, name, name of the other parent, a draw. Every child beats every parent."""

    def crossover(key, first, second):
        del key
        return first.at[2].set(second[1]), second.at[2].set(first[1])

    def mutation(key, individual):
        return individual.at[0].add(-1000).at[3].set(jax.random.uniform(key))

    made = gajax.nsga2(first_gene, batch_size=1, crossover=crossover, mutation=mutation)
    names = jnp.arange(1.0, SIZE + 1)
    population = jnp.stack([2 * names, names, names, names], axis=1)[::-1]
    couples = set()
    for seed in range(10):
        _, state, after = evolve(made, population, jnp.ones((4, 1)), 2, seed)
        assert (state.loss < 0).all() and (
            state.params[:, 0] == 2 * state.params[:, 1] - 1000
        ).all()
        wins = np.bincount(state.params[:, 1].astype(int), minlength=SIZE + 1)
        assert wins[1] == 2 and wins[SIZE] == 0 and wins.max() == 2 and wins.sum() == SIZE
        born = [(int(a), int(b)) for a, b in state.params[:, 1:3]]
        assert sorted(born) == sorted((b, a) for a, b in born)
        couples |= set(born)
        draws = {*state.params[:, 3], *after.params[:, 3]}
        assert len(draws) == 2 * SIZE, "no child and no generation repeats another's"
    assert len(couples) > 20


def test_parents_hand_their_own_gradients_to_the_crossover():
    """A child is half its parent where the signs are its parent's, so the loss falls by four."""

    def half(signs, parent):
        return jnp.where((signs == jnp.sign(parent)).all(), parent / 2, parent)

    def crossover(key, first, second, first_signs, second_signs):
        del key
        return half(first_signs, first), half(second_signs, second)

    def loss_fn(params, batch):
        return jnp.sum(params**2) + 0 * jnp.sum(batch)

    made = gajax.gemonn(loss_fn, batch_size=1, crossover=crossover, mutation=kept)
    population = jax.random.normal(jax.random.key(2), (SIZE, 5)) * 2.0 ** jnp.arange(SIZE)[:, None]
    states = evolve(made, population, jnp.ones((4, 1)), 5)
    best = [float(state.loss[0]) for state in states]
    np.testing.assert_allclose(best, best[0] / 4.0 ** np.arange(6), rtol=1e-5)
    for state in states:
        np.testing.assert_array_equal(state.signs, np.sign(state.params))


@pytest.mark.parametrize("stale", [False, True])
def test_an_easy_batch_decides_for_ever_only_where_parents_are_not_scored_anew(stale):
    factors = jnp.ones((6, 1)).at[3].set(1e-3)  # one batch in each epoch

    def loss_fn(params, batch):
        return jnp.mean(batch) * (1 + jnp.mean((params - 1) ** 2))

    made = gajax.nsga2(loss_fn, batch_size=1, stale_parents=stale, **OPTIONS["nsga2"])
    population = jax.random.normal(jax.random.key(3), (SIZE, 5))
    states = evolve(made, population, factors, 17)
    best = np.array([state.loss[0] for state in states])
    easy = np.array([batches(factors, number, 1)[0, 0] == 3 for number in range(len(states))])
    assert easy.sum() == 3
    if stale:
        assert (best[easy.argmax() :] < 0.01).all() and (np.diff(best) <= 0).all()
    else:
        np.testing.assert_array_equal(best < 0.01, easy)


def test_children_without_a_finite_loss_never_replace_their_parents():
    """Though no parent is as sparse as they are."""

    def mutation(key, individual):
        bad = jnp.where(jax.random.bernoulli(key), jnp.nan, jnp.inf)
        return jnp.zeros_like(individual).at[0].set(bad)

    made = gajax.nsga2(first_gene, batch_size=1, mutation=mutation)
    population = jax.random.normal(jax.random.key(4), (SIZE, 5))
    for state in evolve(made, population, jnp.ones((4, 1)), 3):
        assert {tuple(row) for row in state.params} == {
            tuple(row) for row in np.asarray(population)
        }
        assert (np.diff(state.loss) >= 0).all()


def regression(params, batch):
    return jnp.mean((batch[:, :-1] @ params["kernel"] + params["bias"] - batch[:, -1]) ** 2)


def line(seed=5, examples=20):
    """Sparse individuals and examples."""
    keys = jax.random.split(jax.random.key(seed), 3)
    population = {
        "kernel": jnp.where(
            jax.random.bernoulli(keys[0], 0.6, (SIZE, 6)), jax.random.normal(keys[1], (SIZE, 6)), 0
        ),
        "bias": jnp.zeros(SIZE),
    }
    return population, jax.random.normal(keys[2], (examples, 7))


def rows(state):
    return np.column_stack([state.params["kernel"], state.params["bias"]])


def test_the_ends_of_the_front_are_never_lost_while_the_loss_does_not_change():
    population, examples = line()
    population["bias"] = jnp.ones(SIZE)
    made = gajax.gemonn(regression, batch_size=20, may_be_zero=lambda path, leaf: path == "kernel")
    states = evolve(made, population, examples, 15)
    assert all((state.params["bias"] != 0).all() for state in states)
    best = np.array([state.loss[0] for state in states])
    assert (np.diff(best) <= 1e-6).all() and best[-1] < best[0] - 0.01
    sparsest = np.array([state.density.min() for state in states])
    assert (np.diff(sparsest) <= 0).all() and sparsest[-1] < sparsest[0]


@pytest.mark.parametrize("steps, interval, generations", [(3, 2, 17), (7, 1, 4)])
def test_refined_children_take_the_optimizers_own_steps_from_a_new_start(
    steps, interval, generations
):
    """Children are copies here; the biases, zero at first, may not become zero, so they learn."""
    optimizer = gajax.sparse(optax.adam(0.02), may_be_zero=lambda path, leaf: path == "kernel")
    made = gajax.nsga2(
        regression,
        batch_size=4,
        crossover=unchanged,
        mutation=kept,
        refine=gajax.Refine(optimizer, steps, interval),
    )
    population, examples = line()

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def learn(params, batches):
        state = optimizer.init(params)
        for batch in batches:
            gradient = jax.grad(regression)(params, batch)
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    states = evolve(made, population, examples, generations)
    refined = 0
    for generation, (before, state) in enumerate(zip(states, states[1:], strict=False), 1):
        old = (rows(state)[:, None] == rows(before)).all(axis=2).any(axis=1)
        if generation % interval:
            assert old.all()
            continue
        order = batches(examples, generation, 4, steps)[1:]  # where they run out, from the start
        learned = learn(before.params, examples[order[np.arange(steps) % len(order)]])
        learned = np.column_stack([learned["kernel"], learned["bias"]])
        for row in rows(state)[~old]:
            match = np.isclose(row, learned, rtol=1e-4, atol=1e-6) & ((row == 0) == (learned == 0))
            assert match.all(axis=1).any()
        refined += (~old).sum()
    assert refined > SIZE and (rows(states[-1])[:, -1] != 0).any()
    assert (rows(states[-1]) == 0).any()


@pytest.mark.parametrize("make", [pytest.param(gajax.nsga2, marks=pytest.mark.heavy), gajax.gemonn])
def test_losses_of_half_precision_are_compared_as_any_other(make):
    def loss_fn(params, batch):
        return jnp.mean((batch.astype(params["w"].dtype) @ params["w"]) ** 2)

    population = {"w": jax.random.normal(jax.random.key(0), (4, 3)).astype(jnp.bfloat16)}
    examples = jax.random.normal(jax.random.key(1), (8, 3))
    state = evolve(make(loss_fn, batch_size=4), population, examples, 2)[-1]
    assert state.params["w"].dtype == jnp.bfloat16 and np.isfinite(state.loss).all()


def test_a_loss_of_minus_infinity_does_not_stand_first():
    def loss_fn(params, batch):
        return jnp.where(params[0] > 0.5, -jnp.inf, 1 + jnp.mean(batch) ** 2)

    made = gajax.nsga2(
        loss_fn, batch_size=4, crossover=unchanged, mutation=lambda key, x: x.at[0].set(1)
    )
    population = jnp.array([[1.0, 1], [1, 2], [1, 3], [0.1, 2]])
    state = evolve(made, population, jnp.ones((8, 3)), 2)[-1]
    assert np.isfinite(state.loss[0])
