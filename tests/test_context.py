"""Losses with a key, a state, hyper-parameters and metrics, in every algorithm."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import assert_same, on_host

import gajax
from gajax import breeding, context, evaluation, mutation, sharding

SIZE, SURVIVORS, EXAMPLES, BATCH, GENERATIONS = 8, 4, 24, 8, 2
INPUTS = np.random.default_rng(0).normal(size=(EXAMPLES, 3)).astype(np.float32)
DATA = gajax.Data({"inputs": INPUTS, "targets": INPUTS @ np.array([1, -2, 3], np.float32)}, 5)


@gajax.with_context
def loss_fn(params, batch, context):
    """A random loss that counts its training batches in the state and tells what it was given."""
    noise = jax.random.normal(context.key)
    error = jnp.mean((batch["inputs"] @ params["w"] - batch["targets"]) ** 2)
    metrics = {"noise": noise, "training": float(context.is_training), "error": error}
    state = {**context.state, "batches": context.state["batches"] + 1}
    return gajax.Output(error + 0.01 * noise * params["w"].sum(), state, metrics)


def of_learning_rate(hyper):
    return optax.sgd(hyper["learning_rate"], momentum=0.9)


def same(key, *individuals):
    return individuals if len(individuals) > 1 else individuals[0]


MATING = {"crossover": same, "mutation": same, "hyper_mutation": mutation.scale}
REFINE = gajax.Refine(of_learning_rate, steps=2)
ALGORITHMS = {
    "ga": partial(gajax.ga, optimizer=of_learning_rate, survivors=SURVIVORS, **MATING),
    "nsga2": partial(gajax.nsga2, refine=REFINE, **MATING),
    "gemonn": partial(
        gajax.gemonn, refine=REFINE, **{**MATING, "crossover": lambda key, a, b, *signs: (a, b)}
    ),
    "ladder": partial(
        gajax.ladder,
        optimizer=of_learning_rate,
        densities=tuple(np.geomspace(1, 0.4, SIZE).tolist()),
        generations=GENERATIONS,
        steps=2,
        competes=False,  # or one individual would soon stand at several densities
    ),
    "descent": partial(gajax.descent, optimizer=of_learning_rate),
    "refinement": partial(gajax.refinement, optimizer=of_learning_rate, steps=6, checks=2),
}
TRAINED = {"ga": SURVIVORS, "nsga2": SIZE, "gemonn": SIZE, "descent": SIZE, "refinement": SIZE}


def population():
    def draw(key):
        keys = jax.random.split(key, 3)
        state = {"batches": jnp.int32(0), "name": jax.random.uniform(keys[0])}
        rate = 10 ** jax.random.uniform(keys[1], minval=-3, maxval=-1)
        params = {"w": jax.random.normal(keys[2], (3,))}
        return gajax.Individual(params, state, {"learning_rate": rate})

    return gajax.init(3, draw, SIZE)


@cache
def evolved(name, seconds=None, devices=1, **options):
    algorithm = ALGORITHMS[name](loss_fn, batch_size=BATCH, **options)
    settings = algorithm, 7, population(), DATA
    with jax.set_mesh(sharding.mesh(jax.devices()[:devices])):
        steps = gajax.evolve(*settings, generations=GENERATIONS, seconds=seconds)
        return [
            (sharding.gather(state._replace(failed=0)), info._replace(position=None))
            for state, info in steps
            if info.done
        ]


def rows(steps):
    """The numbers of all individuals after each generation, sorted, as devices reorder them."""
    for state, info in steps:
        columns = [leaf.reshape(SIZE, -1) for leaf in jax.tree.leaves(state.params)]
        columns += [info.metrics[name].reshape(SIZE, 1) for name in sorted(info.metrics)]
        numbers = np.concatenate([*columns, info.loss[:, None]], axis=1)
        yield numbers[np.lexsort(numbers.T)]


@pytest.mark.parametrize(
    "name",  # nsga2 is as gemonn, but for its operators
    [pytest.param(name, marks=[pytest.mark.heavy] * (name == "nsga2")) for name in ALGORITHMS],
)
def test_metrics_arrive_with_the_loss(name):
    for state, info in evolved(name):
        assert set(info.metrics) == {"noise", "training", "error"}
        genes = state.params.params["w"].sum(axis=1)
        is_of_now = name != "descent"  # whose loss is that before each step
        if is_of_now:
            expected = info.metrics["error"] + 0.01 * info.metrics["noise"] * genes
            np.testing.assert_allclose(info.loss, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(info.metrics["training"], float(name == "descent"))
        jax.tree.map(np.testing.assert_array_equal, info.metrics, state.metrics)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_individual_has_a_key_of_its_own_for_every_batch(name):
    noise = np.concatenate([info.metrics["noise"] for _, info in evolved(name)])
    repeated = len(noise) - len(np.unique(noise))
    # Individuals of a refinement that are not better keep what they were measured with.
    assert repeated == 0 or (name == "refinement" and repeated < len(noise) / 2)


@pytest.mark.parametrize(
    "name",  # nsga2 is as gemonn, but for its operators
    [pytest.param(name, marks=[pytest.mark.heavy] * (name == "nsga2")) for name in ALGORITHMS],
)
@pytest.mark.parametrize(
    "setting",
    [
        {"seconds": 1e-9, "chunk_size": 3, "devices": 4},
        pytest.param({"chunk_size": 1}, marks=pytest.mark.heavy),
        pytest.param({"devices": 2}, marks=pytest.mark.heavy),
    ],
    ids=str,
)
def test_nothing_depends_on_cuts_chunks_and_devices(name, setting):
    expected, result = rows(evolved(name)), rows(evolved(name, **setting))
    for one, other in zip(expected, result, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_state_counts_the_training_of_its_individual_and_its_parents(name):
    initial = population()
    names = {float(name): i for i, name in enumerate(initial.state["name"])}
    for generation, (state, _) in enumerate(evolved(name)):
        batches = state.params.state["batches"]
        trained = {"descent": generation + 1, "ladder": generation + 1}.get(name, generation)
        per_generation = {"nsga2": 2, "gemonn": 2, "ladder": 2}.get(name, EXAMPLES // BATCH)
        assert set(np.ravel(batches)) <= {per_generation * i for i in range(trained + 1)}
        assert batches.max() == per_generation * trained
        if name == "ladder":  # whose states are means
            continue
        # With operators that change nothing, an untrained individual is its ancestor.
        assert set(map(float, state.params.state["name"])) <= set(names)
        if name in ("descent", "refinement"):
            np.testing.assert_array_equal(state.params.state["name"], initial.state["name"])


@pytest.mark.parametrize("name", ["ga", "nsga2", "gemonn"])
def test_hyper_parameters_are_inherited_and_perturbed(name):
    initial = population()
    of_name = dict(
        zip(map(float, initial.state["name"]), initial.hyper["learning_rate"], strict=True)
    )
    changed = 0
    for generation, (state, _) in enumerate(evolved(name)):
        ancestors = np.array([of_name[float(name)] for name in state.params.state["name"]])
        powers = np.log(state.params.hyper["learning_rate"] / ancestors) / np.log(1.2)
        np.testing.assert_allclose(powers, np.round(powers), atol=1e-4)
        assert np.abs(powers).max() < generation + 0.5
        changed += np.sum(np.abs(powers) > 0.5)
    assert changed


def test_children_inherit_from_the_parent_in_their_place():
    def swap(key, mother, father):
        return father, mother

    def shift(key, tree):
        return jax.tree.map(lambda leaf: leaf + 1, tree)

    mother = gajax.Individual(jnp.float32(1), "mother", jnp.float32(10))
    father = gajax.Individual(jnp.float32(2), "father", jnp.float32(20))
    cross, mutate = breeding.of_individuals(swap, shift, lambda key, hyper: 2 * hyper)
    keys = jax.random.split(jax.random.key(1), 4)
    children = list(map(mutate, keys[:2], cross(keys[2], mother, father)))
    assert children == [(3, "mother", 20), (2, "father", 40)]
    assert cross(keys[3], mother.params, father.params) == (2, 1), "of genes alone"


def test_each_individual_learns_at_its_own_rate():
    steps = evolved("descent")
    initial, (state, _) = population(), steps[0]
    order = evaluation.batch_order(DATA._replace(order_key=jax.random.key(5)), 0, 3, batch_size=8)
    for index in range(SIZE):
        params, _, hyper = gajax.take(initial, index)
        optimizer = of_learning_rate(hyper)
        memory = optimizer.init(params)
        for batch in order:

            def error(params, batch=batch):
                outputs = INPUTS[batch] @ params["w"]
                return jnp.mean((outputs - DATA.examples["targets"][batch]) ** 2)

            updates, memory = optimizer.update(jax.grad(error)(params), memory)
            params = optax.apply_updates(params, updates)
        # The noise of the loss is small beside the errors.
        np.testing.assert_allclose(state.params.params["w"][index], params["w"], atol=0.02)


def test_a_batch_with_a_bad_loss_leaves_the_state():
    inputs = INPUTS.copy()
    inputs[3] = np.inf
    data = DATA._replace(examples={**DATA.examples, "inputs": inputs})
    algorithm = ALGORITHMS["descent"](loss_fn, batch_size=BATCH)
    *_, (state, _) = gajax.evolve(algorithm, 7, population(), data, generations=1)
    np.testing.assert_array_equal(state.params.state["batches"], EXAMPLES // BATCH - 1)


def test_pruning_carries_a_state_and_metrics():
    moves = gajax.pruning_moves([(1.0, 2), (0.5, 4)], regrow=0.3, interval=2)
    start = gajax.take(population(), slice(0, 1))
    optimizer = optax.sgd(0.01)
    algorithm = gajax.pruning(
        loss_fn,
        optimizer=optimizer,
        batch_size=BATCH,
        moves=moves,
        may_be_zero=gajax.individual.all_leaves,
    )
    *_, (state, info) = gajax.evolve(algorithm, 1, start, DATA)
    # Batches that choose what grows train nothing.
    np.testing.assert_array_equal(state.params.state["batches"], [2, 4])
    assert (gajax.density(state.params) == np.array([1, 2 / 3], np.float32)).all()
    assert info.metrics["error"].shape == (2,) and np.isfinite(info.metrics["error"]).all()


def test_a_run_is_resumed_to_the_bit():
    algorithm = ALGORITHMS["ga"](loss_fn, batch_size=BATCH)
    settings = algorithm, 7, population(), DATA
    steps = [
        jax.tree.map(jnp.copy, (state, info.position))
        for state, info in gajax.evolve(*settings, generations=GENERATIONS, seconds=1e-9)
    ]
    state, position = steps[len(steps) // 2]
    resume_from = state, gajax.Position(*map(int, position))
    resumed = gajax.evolve(*settings, generations=GENERATIONS, resume_from=resume_from)
    assert_same(on_host(resumed)[-1][0], jax.device_get(steps[-1][0]))


def test_a_loss_without_an_output_and_a_gradient_of_ones_own():
    def plain(params, batch, context):
        return jnp.mean((batch["inputs"] @ params["w"] - batch["targets"]) ** 2)

    def doubled(params, batch, context):
        loss, gradient = jax.value_and_grad(plain)(params, batch, context)
        return gajax.Output(loss), jax.tree.map(lambda leaf: 2 * leaf, gradient)

    start = population().params
    options = {"optimizer": optax.sgd(0.01), "batch_size": BATCH}
    by_hand = gajax.descent(
        gajax.with_context(plain), value_and_grad=gajax.with_context(doubled), **options
    )
    expected = gajax.descent(gajax.with_context(plain), **{**options, "optimizer": optax.sgd(0.02)})
    one, other = (
        [*gajax.evolve(algorithm, 1, start, DATA, generations=1)][0][0].params["w"]
        for algorithm in (by_hand, expected)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_measuring_gives_the_means_of_all_examples():
    measured = evaluation.measure(loss_fn, population(), DATA, key=jax.random.key(1))
    outputs = INPUTS @ np.asarray(population().params["w"]).T
    errors = np.mean((outputs - DATA.examples["targets"][:, None]) ** 2, axis=0)
    np.testing.assert_allclose(measured.metrics["error"], errors, rtol=1e-5)
    assert isinstance(measured, context.Measured)
