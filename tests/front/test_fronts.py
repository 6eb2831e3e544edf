"""The evolution of a front, generation by generation, and what every variant of it promises."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import evaluation, mutation, pareto

SIZE, EXAMPLES, BATCH, INPUTS, HIDDEN = 6, 26, 4, 6, 4
BATCHES = EXAMPLES // BATCH
GENES = INPUTS * HIDDEN + HIDDEN
STEPS, EVERY, GENERATIONS = 3, 2, 6  # batches of a refinement, generations between two
OPTIMIZER = gajax.sparse(optax.adam(0.05))
VARIANTS = {
    "fresh": {},
    "stale": {"stale_parents": True},
    "refined": {"refine": gajax.Refine(OPTIMIZER, STEPS, EVERY)},
}
CUT_ROW = ("gemonn", "refined", 2 * SIZE * BATCH)  # at most two steps of refinement at once


TRACES = []  # grows whenever the loss is traced


def reconstruct(encoder, decoder, batch, scale):
    TRACES.append(None)
    hidden = jnp.tanh(batch @ encoder["kernel"] + encoder["rest"][0])
    return jnp.mean((scale * hidden @ decoder["kernel"].T - batch) ** 2)


def loss_fn(params, *rest):
    return reconstruct(params, params, *rest)


SLOPE = gajax.tied(reconstruct)
FACTORIES = {
    "nsga2": partial(gajax.nsga2, mutation=partial(mutation.zero, rate=0.05)),
    "gemonn": partial(gajax.gemonn, value_and_grad=SLOPE),
}
ROWS = [("nsga2", "fresh"), ("nsga2", "stale")]
ROWS += [("gemonn", "fresh"), ("gemonn", "stale"), ("gemonn", "refined")]
ORDER = jax.jit(partial(evaluation.batch_order, batch_size=BATCH))
SCORES = jax.jit(jax.vmap(loss_fn, (0, None, None)))
SLOPES = jax.jit(jax.vmap(lambda *arguments: SLOPE(*arguments)[1], (0, None, None)))


@jax.jit
def levels(density, loss):
    objectives = jnp.stack([density, loss], axis=1)
    rank = pareto.ranks(objectives)
    return pareto.levels(rank, pareto.crowding(objectives, rank))


@cache
def data(seed=7):
    keys = jax.random.split(jax.random.key(seed))
    return gajax.Data(jax.random.normal(keys[0], (EXAMPLES, INPUTS)), keys[1], (jnp.float32(2),))


@cache
def population(size=SIZE):
    """Graded networks in which two genes are zero in everybody."""

    def draw(key):
        kernel = 0.5 * jax.random.normal(key, (INPUTS, HIDDEN))
        return {"kernel": kernel.at[1, :2].set(0), "rest": (kernel[0],)}

    draw = partial(gajax.init, init_fn=draw, size=size, densities=gajax.graded(size))
    return jax.jit(draw)(jax.random.key(2))


@cache
def algorithm(name, variant, *work):
    options = dict(zip(["examples_per_step"], work, strict=False))
    return FACTORIES[name](loss_fn, batch_size=BATCH, **VARIANTS[variant], **options)


def evolve(made, people=None, examples=None, generations=GENERATIONS):
    """The state and info of every step, on the host."""
    people, examples = people or population(), examples or data()
    steps = gajax.evolve(made, jax.random.key(3), people, examples, generations=generations)
    return [(jax.device_get(state), info) for state, info in steps]


@cache
def recorded(*row):
    return evolve(algorithm(*row))


def ends(steps):
    """The states at the ends of the generations."""
    return [state for state, info in steps if info.done]


def refines(variant, generation):
    return variant == "refined" and generation > 0 and generation % EVERY == 0


def rows(params):
    """All individuals as rows [P, genes]."""
    return np.concatenate(
        [np.reshape(leaf, (len(leaf), -1)) for leaf in jax.tree.leaves(params)], 1
    )


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("name, variant", ROWS)
def test_the_state_belongs_to_its_individuals(name, variant):
    """Losses and signs are those of the last batch, or with stale parents of an own earlier one."""
    states = ends(recorded(name, variant))
    assert len(states) == GENERATIONS + 1
    born, kept = 0, 0
    for before, state in zip([None, *states], states, strict=False):
        genes, batch = rows(state.params), data().examples[state.order[state.batch - 1]]
        np.testing.assert_allclose(state.density, (genes != 0).mean(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(state.level, levels(state.density, state.loss))
        assert (np.diff(state.loss) >= 0).all(), "the best stands first"
        loss = SCORES(state.params, batch, *data().shared)
        slopes = rows(SLOPES(state.params, batch, *data().shared))
        for index, row in enumerate(genes):
            parents = [] if before is None else np.flatnonzero((rows(before.params) == row).all(1))
            born += len(parents) == 0
            # A child may be just like an old parent, so this one's loss and signs are possible.
            is_new = np.isclose(state.loss[index], loss[index], rtol=1e-5)
            kept += not is_new
            assert is_new or variant == "stale" and state.loss[index] in before.loss[parents]
            if name == "gemonn":
                signs, clear = rows(state.guide)[index], abs(slopes[index]) > 1e-6
                is_new = (signs == np.sign(slopes[index]))[clear].all()
                assert is_new or (rows(before.guide)[parents] == signs).all(axis=1).any()
    assert SIZE < born < len(states) * SIZE, "some are born and some survive"
    assert (kept > 0) == (variant == "stale")


@pytest.mark.parametrize("name, variant", ROWS)
def test_genes_that_are_zero_in_all_parents_stay_zero(name, variant):
    dead = (rows(population()) == 0).all(axis=0)
    assert dead.sum() >= 2
    for state, _ in recorded(name, variant):
        assert (rows(state.params)[:, dead] == 0).all()
        dead = (rows(state.params) == 0).all(axis=0)


@pytest.mark.parametrize("row", [*ROWS, CUT_ROW])
def test_the_cost_of_a_generation_adds_up(row):
    name, variant, *work = row
    everybody, guided = SIZE * BATCH, name == "gemonn"
    infos = [info for _, info in recorded(*row)]
    for generation in range(GENERATIONS + 1):
        some = [info for info in infos if info.generation == generation]
        trained = STEPS * refines(variant, generation)
        scored = (variant != "stale" and generation > 0) + (not guided)
        assert sum(info.gradient_examples for info in some) == everybody * (trained + guided)
        assert sum(info.forward_examples for info in some) == everybody * scored
        assert sum(info.sequential_steps for info in some) == trained + 1
        fractions = [0.5, 1] if work and trained else [1]
        assert [float(info.fraction) for info in some] == fractions
        assert [bool(info.done) for info in some] == [part == 1 for part in fractions]


def test_the_length_of_a_step_changes_no_bit():
    whole, cut = recorded(*CUT_ROW[:2]), recorded(*CUT_ROW)
    assert len(cut) == len(whole) + GENERATIONS // EVERY
    for found, expected in zip(ends(cut), ends(whole), strict=True):
        assert_same(found, expected)


def test_steps_taken_together_change_no_bit():
    made, single = algorithm(*CUT_ROW), recorded(*CUT_ROW)
    key_start, key_run = jax.random.split(jax.random.key(3))
    state = gajax.start(made, key_start, population(), data())
    state, infos = gajax.run(made, key_run, state, data(), steps=len(single))
    expected, last = single[-1]
    assert_same(jax.device_get(state), expected)
    assert_same(gajax.take(infos, -1), last)


@pytest.mark.parametrize("name", FACTORIES)
def test_the_same_seed_gives_the_same_bits_and_the_same_shapes_compile_once(name):
    expected = recorded(name, "fresh")
    TRACES.clear()
    assert_same(evolve(algorithm(name, "fresh")), expected)
    other = evolve(algorithm(name, "fresh"), examples=data(8))
    assert (rows(other[-1][0].params) != rows(expected[-1][0].params)).any()
    assert not TRACES, "the data are no part of the program"


@pytest.mark.parametrize("name, variant", ROWS)
def test_no_epoch_uses_a_batch_twice_and_each_has_an_order_of_its_own(name, variant):
    used, orders = set(), {}
    for generation, state in enumerate(ends(recorded(name, variant))):
        count, epoch = 1 + STEPS * refines(variant, generation), int(state.epoch)
        batches = {(epoch, int(state.batch) - back) for back in range(1, count + 1)}
        assert not batches & used and all(0 <= batch < BATCHES for _, batch in batches)
        used |= batches
        orders[epoch] = state.order
    assert set(orders) == set(range(len(orders))) and len(orders) > 1
    for epoch, order in orders.items():
        np.testing.assert_array_equal(order, ORDER(data(), epoch))


def test_a_population_of_odd_size_evolves():
    states = ends(evolve(algorithm("nsga2", "fresh"), population(5), generations=3))
    for state in states:
        assert rows(state.params).shape == (5, GENES) and np.isfinite(state.loss).all()
    assert (rows(states[-1].params) != rows(states[0].params)).any()


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
@pytest.mark.parametrize("name", FACTORIES)
def test_individuals_without_a_finite_loss_do_not_survive(name, bad):
    """Though they are the sparsest of all."""
    people = dict(population())
    broken = jnp.zeros_like(people["kernel"][0]).at[2, 3].set(bad)
    people["kernel"] = people["kernel"].at[jnp.array([0, 3])].set(broken)
    first, *others = ends(evolve(algorithm(name, "fresh"), people, generations=3))
    np.testing.assert_array_equal(np.isfinite(first.loss), [True] * 4 + [False] * 2)
    assert first.level[:4].max() < first.level[4:].min()
    for state in others:
        assert np.isfinite(state.loss).all() and np.isfinite(rows(state.params)).all()


@pytest.mark.parametrize("batch_size", [0, EXAMPLES + 1])
@pytest.mark.parametrize("name", FACTORIES)
def test_a_batch_is_not_empty_and_not_larger_than_the_data(name, batch_size):
    made = FACTORIES[name](loss_fn, batch_size=batch_size)
    with pytest.raises(ValueError, match="batch_size"):
        gajax.start(made, jax.random.key(0), population(), data())
