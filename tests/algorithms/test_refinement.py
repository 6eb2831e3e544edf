"""The final refinement: how long each individual learns, and that none ends worse than before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from small_model import on_host

import gajax
from gajax import evaluation
from gajax.algorithms.refinement import budgets

SIZE, EXAMPLES, BATCH, STEPS = 4, 40, 5, 30
DENSITIES = jnp.array([0.04, 0.3, 0.6, 1.0])
OPTIMIZER = gajax.sparse(optax.adam(0.05))


def loss_fn(params, batch):
    return jnp.mean((batch["inputs"] @ params["kernel"] - batch["targets"]) ** 2)


def data():
    keys = jax.random.split(jax.random.key(1))
    inputs = jax.random.normal(keys[0], (EXAMPLES, 100))
    targets = inputs @ jax.random.normal(keys[1], (100,)) / 10
    return gajax.Data({"inputs": inputs, "targets": targets}, jax.random.key(3))


def population():
    def draw(key):
        return {"kernel": jax.random.normal(key, (100,)) / 10}

    return gajax.init(jax.random.key(3), draw, SIZE, densities=DENSITIES)


def least_squares():
    """The lowest loss of each individual with its zeros, in NumPy."""
    inputs, targets = (np.asarray(data().examples[name]) for name in ("inputs", "targets"))
    lowest = []
    for kernel in np.asarray(population()["kernel"]):
        kept = inputs[:, kernel != 0]
        best = np.linalg.lstsq(kept, targets, rcond=None)[0]
        lowest.append(np.mean((kept @ best - targets) ** 2))
    return np.array(lowest)


def refine(optimizer=OPTIMIZER, population=population, **options):
    """All states and infos until the algorithm ends by itself."""
    algorithm = gajax.refinement(
        loss_fn, optimizer=optimizer, batch_size=BATCH, steps=STEPS, **options
    )
    return on_host(gajax.evolve(algorithm, jax.random.key(4), population(), data()))


def test_steps_are_in_proportion_to_the_density_and_few_for_the_sparsest():
    steps = budgets(jnp.array([0.049, 0.05, 0.1, 0.2]), 1_000)
    assert steps.tolist() == [20, 250, 500, 1_000]
    assert budgets(jnp.array([0.01, 0.02]), 5).tolist() == [5, 5]


def test_each_individual_ends_at_least_as_well_and_zeros_stay():
    before = evaluation.losses(loss_fn, population(), data())
    steps = refine()
    losses = np.array([info.loss for _, info in steps])
    assert (np.diff(losses, axis=0) <= 0).all()
    state, _ = steps[-1]
    after = evaluation.losses(loss_fn, jax.tree.map(jnp.asarray, state.params), data())
    np.testing.assert_allclose(state.loss, after, rtol=1e-4)
    assert (before - after > 0.5 * (before - least_squares())).all()
    started = np.asarray(population()["kernel"]) == 0
    np.testing.assert_array_equal(state.params["kernel"] == 0, started)


def test_a_rate_that_diverges_leaves_each_individual_as_it_was():
    state, _ = refine(gajax.sparse(optax.sgd(1e6)))[-1]
    np.testing.assert_array_equal(state.params["kernel"], population()["kernel"])


def test_the_individuals_take_the_optimizers_own_steps():
    last, _ = refine()[-1]
    steps = budgets(gajax.density(population()), STEPS)
    order = evaluation.batch_order(data(), 0, STEPS, batch_size=BATCH)
    for index in range(SIZE):
        params = jax.tree.map(lambda leaf, index=index: leaf[index], population())
        state = OPTIMIZER.init(params)
        for rows in order[: int(steps[index])]:
            batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], data().examples)
            gradient = jax.grad(loss_fn)(params, batch)
            updates, state = OPTIMIZER.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(last.current["kernel"][index], params["kernel"], atol=1e-5)


def test_a_last_generation_may_be_shorter():
    """Thirty steps in checks of four: seven generations of four steps and one of two."""
    infos = [info for _, info in refine(checks=7)]
    steps = np.asarray(budgets(gajax.density(population()), STEPS))
    assert [info.generation for info in infos] == list(range(9))
    assert [info.sequential_steps for info in infos] == [1, *[5] * 7, 3]
    learned = [np.clip(steps - 4 * done, 0, 4).sum() * BATCH for done in range(8)]
    assert [int(info.gradient_examples) for info in infos] == [0, *learned]


def test_the_cost_is_what_was_learned_and_scored():
    infos = [info for _, info in refine(checks=3)]
    steps = np.asarray(budgets(gajax.density(population()), STEPS))
    assert sum(int(info.gradient_examples) for info in infos) == steps.sum() * BATCH
    # Checks are at 10, 20 and 30 steps, each of the individuals that have moved since the last.
    checks = SIZE + sum(int((steps > last).sum()) for last in (0, 10, 20))
    assert sum(int(info.forward_examples) for info in infos) == checks * EXAMPLES
    assert sum(int(info.sequential_steps) for info in infos) == STEPS + 1 + 3
    assert [info.generation for info in infos] == [0, 1, 2, 3]


def test_the_best_moment_is_kept():
    """The rate falls and rises, so the last moment is not the best."""
    rates = optax.piecewise_constant_schedule(0.05, {15: 100.0})
    best, _ = refine(gajax.sparse(optax.adam(rates)), checks=10)[-1]
    current = evaluation.losses(loss_fn, jax.tree.map(jnp.asarray, best.current), data())
    assert (best.loss[2:] < 0.9 * np.asarray(current)[2:]).all()


def test_a_moment_without_a_finite_loss_is_never_the_best():
    """Where the first gene is gone, the loss is minus infinity."""

    def bottomless(params, batch):
        slope = jnp.mean(params["kernel"]) + 0 * jnp.sum(batch["inputs"])
        return jnp.where(params["kernel"][0] < -2, -jnp.inf, slope)

    made = gajax.refinement(bottomless, optimizer=optax.sgd(30.0), batch_size=BATCH, steps=STEPS)
    *_, (state, info) = on_host(gajax.evolve(made, jax.random.key(4), population(), data()))
    assert (state.current["kernel"][:, 0] < -2).all() and np.isfinite(info.loss).all()
    assert (state.params["kernel"][:, 0] >= -2).all()
