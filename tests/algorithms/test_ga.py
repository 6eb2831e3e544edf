"""The genetic algorithm, stage by stage against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import on_host

import gajax
from gajax import crossover, evaluation, mutation, selection

SIZE, SURVIVORS, EXAMPLES, BATCH, EPOCHS, INPUTS = 8, 3, 14, 4, 2, 20
RATE, MOMENTUM, SCALE = 0.01, 0.9, 0.5
BATCHES = EPOCHS * (EXAMPLES // BATCH)
KEYS = jax.random.split(jax.random.key(0), 3)
DATA = gajax.Data(
    {
        "inputs": jax.random.normal(KEYS[0], (EXAMPLES, INPUTS)),
        "targets": jax.random.normal(KEYS[1], (EXAMPLES,)),
    },
    KEYS[2],
    ({"scale": jnp.float32(SCALE)},),
)


def loss_fn(params, batch, frozen):
    predicted = frozen["scale"] * batch["inputs"] @ params["kernel"] + params["rest"][0]
    return jnp.mean((predicted - batch["targets"]) ** 2)


def make(**options):
    """An algorithm on the loss above."""
    options = {"survivors": SURVIVORS, "batch_size": BATCH, "epochs": EPOCHS} | options
    options.setdefault("optimizer", optax.sgd(RATE, MOMENTUM))
    return gajax.ga(loss_fn, **options)


def draw(size=SIZE, seed=1):
    keys = jax.random.split(jax.random.key(seed))
    kernel = jax.random.normal(keys[0], (size, INPUTS))
    return {"kernel": kernel, "rest": (jax.random.normal(keys[1], (size,)),)}


def evolve(algorithm, population, generations):
    """Lists by generation: the states after breeding, the states and infos after ranking."""
    key, options = jax.random.key(2), {"generations": generations, "seconds": 1e-9}
    steps = on_host(gajax.evolve(algorithm, key, population, DATA, **options))
    bred = [state for state, info in steps if info.stage == "breed"]
    ranked, infos = zip(*(step for step in steps if step[1].done), strict=True)
    assert len(bred) + 1 == len(ranked) == generations + 1
    return [None, *bred], list(ranked), list(infos)


def genes(params):
    """All individuals as rows [P, 21]."""
    return np.column_stack([params["kernel"], params["rest"][0]])


def errors(rows, examples=slice(None)):
    """What the network misses the targets by [P, N], in NumPy."""
    inputs, targets = (np.asarray(DATA.examples[name])[examples] for name in ("inputs", "targets"))
    return SCALE * rows[:, :-1] @ inputs.T + rows[:, -1:] - targets


def losses(params, examples=slice(None)):
    return np.mean(errors(genes(params), examples) ** 2, axis=1)


@pytest.fixture(scope="module")
def still():
    """An algorithm without learning, whose populations change by crossover and mutation alone."""
    return make(optimizer=optax.sgd(0.0), mutation=partial(mutation.zero, rate=0.1))


@pytest.fixture(scope="module")
def evolved(still):
    return evolve(still, draw(), 5)


@pytest.fixture(scope="module")
def learned():
    return evolve(make(), draw(), 3)


def test_generation_zero_scores_and_sorts_the_initial_population(learned):
    _, scored, infos = learned
    order = np.argsort(losses(draw()))
    np.testing.assert_array_equal(genes(scored[0].params), genes(draw())[order])
    np.testing.assert_allclose(infos[0].loss, losses(draw())[order], rtol=1e-5)


def test_the_better_ones_survive_in_their_order(learned):
    for before, after in zip(learned[0][1:], learned[1][1:], strict=True):
        order = np.argsort(losses(before.params))
        np.testing.assert_array_equal(genes(after.params), genes(before.params)[order])
        moved, momentum = (
            genes({"kernel": state.optimizer_state[0].trace["kernel"], **_rest(state)})
            for state in (after, before)
        )
        np.testing.assert_array_equal(moved[:SURVIVORS], momentum[order][:SURVIVORS])


def _rest(state):
    return {"rest": state.optimizer_state[0].trace["rest"]}


def test_every_loss_is_taken_with_the_frozen_layers_also_of_offspring(learned):
    for state, info in zip(*learned[1:], strict=True):
        np.testing.assert_allclose(info.loss, losses(state.params), rtol=1e-5)
        np.testing.assert_array_equal(info.loss, state.loss)
    assert DATA.shared[0]["scale"] == SCALE


def test_survivors_learn_by_the_optimizers_steps_with_the_state_they_have(learned):
    for generation in (1, 2, 3):
        start, end = learned[1][generation - 1], learned[0][generation]
        rows = genes(start.params)[:SURVIVORS]
        trace = start.optimizer_state[0].trace
        speed = genes({"kernel": trace["kernel"], "rest": trace["rest"]})[:SURVIVORS]
        first = (generation - 1) * BATCHES
        order = evaluation.batch_order(DATA, first, BATCHES, batch_size=BATCH)
        for batch in np.asarray(order):
            inputs = np.column_stack([SCALE * DATA.examples["inputs"], np.ones(EXAMPLES)])[batch]
            speed = MOMENTUM * speed + 2 / BATCH * errors(rows, batch) @ inputs
            rows = rows - RATE * speed
        result = genes(end.params)[:SURVIVORS]
        np.testing.assert_allclose(result, rows, rtol=1e-4, atol=1e-5)
        assert abs(result - genes(start.params)[:SURVIVORS]).max() > 0.01


def test_relatives_learn_from_batches_of_their_own_and_have_means_as_children():
    """The children's weights are the same for genes and momentum."""
    batches, options = 5, {"own_orders": True, "cross_optimizer": True, "parents": SURVIVORS}
    options |= {"crossover": crossover.mean, "mutation": partial(mutation.zero, rate=0.0)}
    ancestor = jax.tree.map(lambda leaf: jnp.repeat(leaf, 2 * SURVIVORS, axis=0), draw(1))
    bred, ranked, _ = evolve(make(batches=batches, **options), ancestor, 2)

    def momentum(state):
        return genes(dict(state.optimizer_state[0].trace))

    for generation in (1, 2):
        start, end = ranked[generation - 1], bred[generation]
        rows, speeds = genes(start.params)[:SURVIVORS], momentum(start)[:SURVIVORS]
        for rank in range(SURVIVORS):
            sequence = {"batch_size": BATCH, "sequence": rank, "sequences": SURVIVORS}
            first = (generation - 1) * batches
            for batch in np.asarray(evaluation.batch_order(DATA, first, batches, **sequence)):
                inputs = np.column_stack([SCALE * DATA.examples["inputs"], np.ones(EXAMPLES)])
                error = errors(rows[rank : rank + 1], batch)[0]
                speeds[rank] = MOMENTUM * speeds[rank] + 2 / BATCH * error @ inputs[batch]
                rows[rank] -= RATE * speeds[rank]
        parents, after = np.column_stack([rows, speeds]).T, genes(end.params)
        np.testing.assert_allclose(after[:SURVIVORS], rows, rtol=1e-4, atol=1e-5)
        assert len(np.unique(rows, axis=0)) == SURVIVORS
        children = np.column_stack([after, momentum(end)])[SURVIVORS:].T
        weights = np.linalg.lstsq(parents, children)[0]
        np.testing.assert_allclose(parents @ weights, children, atol=1e-4)
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-3)
        assert (weights > 0).all() and len(np.unique(weights.round(3))) > SURVIVORS


def test_every_generation_counts_its_surviving_children(learned):
    for generation, (before, after) in enumerate(zip(*learned[:2], strict=True)):
        expected = 0
        if generation:
            order = np.argsort(losses(before.params))[:SURVIVORS]
            expected = np.sum(order >= SURVIVORS)
        assert after.is_child.sum() == expected and not after.is_child[SURVIVORS:].any()


def test_every_gene_of_a_child_comes_from_one_of_two_parents_or_is_zero(evolved):
    for parents, after in zip(evolved[1], evolved[0][1:], strict=False):
        parents = genes(parents.params)[:SURVIVORS]
        np.testing.assert_array_equal(genes(after.params)[:SURVIVORS], parents)
        for child in genes(after.params)[SURVIVORS:]:
            couples = [(a, b) for a in parents for b in parents if a is not b]
            assert any(((child == a) | (child == b) | (child == 0)).all() for a, b in couples)


def test_crossover_and_mutation_change_the_offspring(evolved):
    parents, after = genes(evolved[1][0].params)[:SURVIVORS], genes(evolved[0][1].params)
    mutated = 0
    for child in after[SURVIVORS:]:
        inherited = [np.sum(child == parent) for parent in parents]
        assert sum(count >= 3 for count in inherited) == 2, "genes of both parents"
        mutated += np.sum(child == 0)
    assert 0 < mutated < 0.3 * after[SURVIVORS:].size


def test_every_generation_draws_anew(evolved):
    first, second = (genes(state.params)[SURVIVORS:] == 0 for state in evolved[0][1:3])
    assert (first & ~second).any(), "genes that mutate in one generation need not in the next"


def test_the_best_loss_never_gets_worse_without_learning(evolved):
    best = [info.loss[0] for info in evolved[2]]
    assert best == sorted(best, reverse=True) and best[-1] < best[0]


@pytest.mark.parametrize("broken", [1, 5, 6])
def test_an_individual_without_a_finite_loss_never_survives_a_finite_one(still, broken):
    population = draw()
    value = jnp.where(jnp.arange(broken) % 2, jnp.inf, jnp.nan)
    population["rest"] = (population["rest"][0].at[:broken].set(value),)
    best = np.sort(losses(draw())[broken:])[:SURVIVORS]
    _, scored, infos = evolve(still, population, 3)
    np.testing.assert_allclose(infos[0].loss[: len(best)], best, rtol=1e-5)
    for info in infos:
        finite = np.isfinite(info.loss)
        assert (np.diff(finite.astype(int)) <= 0).all(), "those which are not finite come last"
        assert (np.diff(info.loss[finite]) >= 0).all() and info.loss[0] <= best[0] * (1 + 1e-6)


def test_couples_are_two_different_survivors_drawn_uniformly():
    """Children are copies of their parents here, which shows whose children they are."""
    plain = {"crossover": partial(crossover.uniform, rate=0.0)}
    plain["mutation"] = partial(mutation.zero, rate=0.0)
    trained, *_ = evolve(make(**plain), draw(1200 + SURVIVORS), 1)
    rows, trace = genes(trained[1].params), trained[1].optimizer_state[0].trace
    same = (rows[SURVIVORS:, None] == rows[:SURVIVORS]).all(axis=2)
    assert (same.sum(axis=1) == 1).all()
    owner = same.argmax(axis=1)
    np.testing.assert_array_equal(trace["kernel"][SURVIVORS:], trace["kernel"][owner])
    assert len(np.unique(trace["kernel"], axis=0)) == SURVIVORS, "the mother's moments go on"
    counts = np.zeros((SURVIVORS, SURVIVORS))
    np.add.at(counts, (owner[0::2], owner[1::2]), 1)
    assert (np.diag(counts) == 0).all()
    drawn = counts[~np.eye(SURVIVORS, dtype=bool)]
    assert (abs(drawn - 100) <= 5 * np.sqrt(600 / 6 * 5 / 6)).all()


def test_a_fresh_optimizer_forgets_and_a_single_survivor_mates_with_itself():
    options = {"fresh_optimizer": True, "mutation": partial(mutation.zero, rate=0.0)}
    trained, scored, _ = evolve(make(survivors=1, **options), draw(2), 2)
    for state in (*trained[1:], *scored):
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(state.optimizer_state))
    for state in trained[1:]:
        np.testing.assert_array_equal(*genes(state.params))
    assert (genes(trained[1].params)[0] != genes(scored[0].params)[0]).all()


@pytest.fixture(scope="module")
def tournaments():
    return make(selection=selection.tournament, score_examples=9)


def test_selection_decides_and_score_examples_bounds_what_it_looks_at(tournaments):
    _, scored, infos = evolve(tournaments, draw(6), 5)
    for state, info in zip(scored, infos, strict=True):
        np.testing.assert_allclose(info.loss, losses(state.params, slice(9)), rtol=1e-5)
        assert info.loss[0] == info.loss.min()
        assert (np.diff(info.loss[:3]) >= 0).all() and (np.diff(info.loss[3:]) >= 0).all()
    assert any(info.loss[2] > info.loss[3] for info in infos), "a tournament may drop the third"
    stages = tournaments.stages(6, EXAMPLES)(1)
    assert sum(stage.forward_examples for stage in stages) == 6 * 9


@pytest.mark.parametrize("broken", [[0, 1, 2], [0, 1, 5], [1, 2, 3], [0, 2, 4], [3, 4, 5]])
def test_no_tournament_prefers_a_broken_individual_to_a_finite_one(tournaments, broken):
    population = draw(6)
    population["rest"] = (population["rest"][0].at[jnp.array(broken)].set(jnp.nan),)
    _, _, (info,) = evolve(tournaments, population, 0)
    np.testing.assert_array_equal(np.isfinite(info.loss), [True] * 3 + [False] * 3)
