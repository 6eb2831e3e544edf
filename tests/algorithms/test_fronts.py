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
STEPS, INTERVAL, GENERATIONS = 3, 2, 6  # batches of a refinement, generations between two
OPTIMIZER = gajax.sparse(optax.adam(0.05))
VARIANTS = {
    "fresh": {},
    "stale": {"stale_parents": True},
    "refined": {"refine": gajax.Refine(OPTIMIZER, STEPS, INTERVAL)},
}
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
ORDER = jax.jit(partial(evaluation.batch_order, batch_size=BATCH), static_argnums=2)
SCORES = jax.jit(jax.vmap(loss_fn, (0, None, None)))
SLOPES = jax.jit(jax.vmap(lambda *arguments: SLOPE(*arguments)[1], (0, None, None)))


@jax.jit
def ranks(density, loss):
    return pareto.ranks(jnp.stack([density, loss], axis=1))


def judging_batch(variant, generation):
    """The first of the batches that a generation needs, all of which lie in one epoch."""
    needed = 1 + STEPS if variant == "refined" else 1
    epoch, index = divmod(generation, BATCHES // needed)
    (batch,) = ORDER(data(), epoch * BATCHES + index * needed, 1)
    return data().examples[batch]


@cache
def data(seed=7):
    keys = jax.random.split(jax.random.key(seed))
    return gajax.Data(jax.random.normal(keys[0], (EXAMPLES, INPUTS)), keys[1], (jnp.float32(2),))


@cache
def population(size=SIZE):
    """Networks of linear densities in which two genes are zero in all."""

    def draw(key):
        kernel = 0.5 * jax.random.normal(key, (INPUTS, HIDDEN))
        return {"kernel": kernel.at[1, :2].set(0), "rest": (kernel[0],)}

    draw = partial(gajax.init, init_fn=draw, size=size, densities=gajax.linear_densities(size))
    return jax.jit(draw)(jax.random.key(2))


@cache
def algorithm(name, variant):
    return FACTORIES[name](loss_fn, batch_size=BATCH, **VARIANTS[variant])


def evolve(made, individuals=None, examples=None, generations=GENERATIONS):
    """The state and info of each generation, on the host."""
    individuals, examples = individuals or population(), examples or data()
    steps = gajax.evolve(made, jax.random.key(3), individuals, examples, generations=generations)
    return [(jax.device_get(state), info) for state, info in steps]


@cache
def recorded(*row):
    return evolve(algorithm(*row))


def states_of(steps):
    return [state for state, _ in steps]


def refines(variant, generation):
    return variant == "refined" and generation > 0 and generation % INTERVAL == 0


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
    states = states_of(recorded(name, variant))
    assert len(states) == GENERATIONS + 1
    born, kept = 0, 0
    for generation, (before, state) in enumerate(zip([None, *states], states, strict=False)):
        genes, batch = rows(state.params), judging_batch(variant, generation)
        np.testing.assert_allclose(state.density, (genes != 0).mean(axis=1), rtol=1e-6)
        rank = np.asarray(ranks(state.density, state.loss))
        worse = rank[:, None] < rank
        assert (state.level[:, None] < state.level)[worse].all(), "rank decides before crowding"
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
                signs, clear = rows(state.signs)[index], abs(slopes[index]) > 1e-6
                is_new = (signs == np.sign(slopes[index]))[clear].all()
                assert is_new or (rows(before.signs)[parents] == signs).all(axis=1).any()
    assert SIZE < born < len(states) * SIZE, "some are born and some survive"
    assert (kept > 0) == (variant == "stale")


@pytest.mark.parametrize("name, variant", ROWS)
def test_genes_that_are_zero_in_all_parents_stay_zero(name, variant):
    dead = (rows(population()) == 0).all(axis=0)
    assert dead.sum() >= 2
    for state, _ in recorded(name, variant):
        assert (rows(state.params)[:, dead] == 0).all()
        dead = (rows(state.params) == 0).all(axis=0)


@pytest.mark.parametrize("name, variant", ROWS)
def test_the_cost_of_a_generation_adds_up(name, variant):
    work, guided = SIZE * BATCH, name == "gemonn"
    for generation, (_, info) in enumerate(recorded(name, variant)):
        trained = STEPS * refines(variant, generation)
        scored = (variant != "stale" and generation > 0) + (not guided)
        assert info.generation == generation and info.done and info.fraction == 1
        assert info.gradient_examples == work * (trained + guided)
        assert info.forward_examples == work * scored
        assert info.sequential_steps == trained + 1


@pytest.mark.parametrize("name", FACTORIES)
def test_the_same_seed_gives_the_same_bits_and_the_same_shapes_compile_once(name):
    expected = recorded(name, "fresh")
    TRACES.clear()
    assert_same(evolve(algorithm(name, "fresh")), expected)
    other = evolve(algorithm(name, "fresh"), examples=data(8))
    assert (rows(other[-1][0].params) != rows(expected[-1][0].params)).any()
    assert not TRACES, "the data are no part of the program"


def test_a_population_of_odd_size_evolves():
    states = states_of(evolve(algorithm("nsga2", "fresh"), population(5), generations=3))
    for state in states:
        assert rows(state.params).shape == (5, GENES) and np.isfinite(state.loss).all()
    assert (rows(states[-1].params) != rows(states[0].params)).any()


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
@pytest.mark.parametrize("name", FACTORIES)
def test_individuals_without_a_finite_loss_do_not_survive(name, bad):
    """Though they are the sparsest of all."""
    individuals = dict(population())
    broken = jnp.zeros_like(individuals["kernel"][0]).at[2, 3].set(bad)
    individuals["kernel"] = individuals["kernel"].at[jnp.array([0, 3])].set(broken)
    first, *others = states_of(evolve(algorithm(name, "fresh"), individuals, generations=3))
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
