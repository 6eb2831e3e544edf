"""A population over several devices: the same results, and no more traffic than selection needs."""

import re
from collections import Counter
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_model import (
    BATCH,
    DATA,
    FIRST,
    GENES,
    INPUTS,
    OPTIONS,
    SIZE,
    SURVIVORS,
    loss_fn,
    make,
    population,
)

import gajax
from gajax import breeding, crossover, programs, sharding

BYTES = {"f32": 4, "s32": 4, "s8": 1, "u32": 4, "pred": 1}
# Outside of a mesh, in which every operation by itself is compiled anew for each share.
POPULATION = population()
# One individual after another, so that no product is larger on one device than on many.
ALGORITHMS = {name: make(name, loss_fn, chunk_size=1) for name in FIRST}
RELATIVES = {"parents": 4, "crossover": crossover.mean, "own_orders": True, "batches": 4}
RELATIVES["cross_optimizer"] = True
ALGORITHMS["relatives"] = make("ga", loss_fn, chunk_size=1, **RELATIVES)


def on(devices):
    return jax.set_mesh(sharding.mesh(jax.devices()[:devices]))


def evolved(name, broken=0):
    """Individuals as rows [P, genes], best first, and their losses, after two generations.

    So many of the initial population are not finite.
    """
    algorithm = ALGORITHMS[name]
    population = {**POPULATION, "first": POPULATION["first"].at[:broken].set(jnp.nan)}
    compiled = programs.piece._cache_size()
    steps = gajax.evolve(algorithm, jax.random.key(2), population, DATA, generations=2)
    stages = set()
    for state, info in steps:  # noqa: B007
        stages |= {stage.name for stage in algorithm.stages(SIZE, len(INPUTS))(info.generation)}
    assert programs.piece._cache_size() <= compiled + len(stages), "one program for each stage"
    if sharding.device_count() > 1:
        shares = [shard.data.shape[0] for shard in state.params["first"].addressable_shards]
        assert shares == [SIZE // len(shares)] * sharding.device_count()
    return best_first(state, info)


def best_first(state, info):
    """Individuals as rows and their losses, best first."""
    params = sharding.gather(state.params)
    rows = np.concatenate([leaf.reshape(SIZE, -1) for leaf in params.values()], axis=1)
    order = np.lexsort((*rows.T, info.loss))
    return rows[order], info.loss[order]


@cache
def alone(name):
    """The result of an algorithm on one device."""
    return evolved(name)


HEAVY = pytest.mark.heavy
LIGHT = {"descent": 8, "refinement": 2}
"""Devices that do not take long to compile for. The genetic algorithm is compared below, too."""


@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(
    ("name", "devices"),  # nsga2 is as gemonn, of which a run of its own on four devices is tested
    [
        pytest.param(name, devices, marks=[HEAVY] * (LIGHT.get(name) != devices))
        for name in ALGORITHMS
        for devices in (2, 4, 8)
    ],
)
def test_devices_change_no_bit(name, devices):
    with on(devices):
        rows, loss = evolved(name)
    np.testing.assert_array_equal(rows, alone(name)[0])
    np.testing.assert_array_equal(loss, alone(name)[1])


@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(
    ("before", "after"), [(4, 1), *(pytest.param(*pair, marks=HEAVY) for pair in ((1, 4), (8, 2)))]
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[HEAVY] * (name != "ga")) for name in ALGORITHMS]
)
def test_a_run_goes_on_with_another_number_of_devices(name, before, after):
    """From any step within a generation, with a state as a file holds it."""
    setting = ALGORITHMS[name], jax.random.key(2), POPULATION, DATA
    with on(before):
        steps = gajax.evolve(*setting, generations=2, seconds=1e-9)
        saved = [(sharding.gather(state), info.position) for state, info in steps]
    for state in saved[: -1 : 1 if after == 1 else 4]:
        with on(after):
            *_, last = gajax.evolve(*setting, generations=2, resume_from=state)
            result = best_first(*last)
        jax.tree.map(np.testing.assert_array_equal, result, alone(name))


def test_losses_from_outside_reach_their_individuals_on_another_number_of_devices():
    algorithm = gajax.ga(None, survivors=4, batch_size=1)
    genes = jax.random.normal(jax.random.key(0), (8, 3))

    def generations(asking, telling):
        """Individuals after two generations, with files between asking and telling."""
        with on(asking):
            state, position = gajax.start(algorithm, 1, genes), gajax.Position(0)
        for _ in range(3):
            with on(asking):
                state, asked, position = gajax.ask(algorithm, 1, state, position)
                state, asked = sharding.gather((state, asked))
            with on(telling):
                loss = np.sum(asked**2, axis=1)
                state, position = gajax.tell(algorithm, 1, state, position, loss)
                state = sharding.gather(state)
        order = np.lexsort((*state.params.T, state.loss))
        return jax.tree.map(lambda leaf: leaf[order], (state.params, state.loss, state.is_child))

    jax.tree.map(np.testing.assert_array_equal, generations(4, 1), generations(1, 1))


def test_finite_individuals_mate_in_place_of_the_others_of_all_devices():
    expected = evolved("ga", broken=12)
    with on(4):
        result = evolved("ga", broken=12)
    jax.tree.map(np.testing.assert_array_equal, result, expected)
    assert np.isfinite(expected[1]).all() and np.isfinite(expected[0]).all()


def collectives(name, devices):
    """Number of each kind in a compiled generation, and the bytes that arrive at a device."""
    algorithm = ALGORITHMS[name]
    stages = algorithm.stages(SIZE, len(INPUTS))(1)
    with on(devices):
        population = sharding.place(POPULATION)
        data = sharding.replicate(DATA)
        state = gajax.start(algorithm, jax.random.key(2), population, data)
        lowered = gajax.run_generations.lower(stages, jax.random.key(3), state, data, 1, count=1)
        program = lowered.compile().as_text()
    number, traffic = Counter(), Counter()
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    for kind, shape, name in re.findall(rf"= (\w+)\[([\d,]*)\]\S* ({kinds})(?:-start)?\(", program):
        number[name] += 1
        traffic[name] += BYTES[kind] * int(np.prod([int(n) for n in shape.split(",") if n]))
    return number, traffic


def test_what_moves_is_the_parents_and_the_survivors():
    """Each device gets two parents for each pair of its children, then its survivors."""
    devices = 4
    number, traffic = collectives("gemonn", devices)
    share, leaves = SIZE // devices, 2 * 2  # genes and the signs of their gradients
    assert set(number) == {"all-gather", "collective-permute"}
    assert number["collective-permute"] == (devices - 1) * leaves * 3  # mothers, fathers, survivors
    assert traffic["collective-permute"] == (devices - 1) * 2 * share * GENES * (4 + 1)
    assert number["all-gather"] == 3, "losses of parents and offspring, densities"
    assert traffic["all-gather"] == 3 * 4 * SIZE


def test_a_genetic_algorithm_moves_the_optimisers_of_survivors_alone():
    devices = 4
    number, traffic = collectives("ga", devices)
    optimizer = 2 * GENES + 1
    parents, heirs = SIZE - SURVIVORS, SIZE - SURVIVORS
    moved = (parents + SIZE) * GENES + (heirs + SURVIVORS) * optimizer
    assert set(number) == {"all-gather", "collective-permute"}
    assert traffic["collective-permute"] == (devices - 1) * moved // devices * 4
    assert number["all-gather"] == 2, "losses, and which of the survivors are still alive"
    assert traffic["all-gather"] == 4 * (SIZE + SURVIVORS)


def test_descent_moves_nothing_but_losses():
    number, traffic = collectives("descent", 4)
    assert number == {"all-gather": 1} and traffic == {"all-gather": 4 * SIZE}


@HEAVY
def test_a_device_needs_memory_for_its_own_share():
    """Twice the populations of one device, for parents and survivors come from all others."""
    size, genes, devices = 64, 6_000, 4

    def needed(devices):
        with on(devices):
            keys = jax.random.split(jax.random.key(1), size)
            population = sharding.place(jax.vmap(partial(jax.random.normal, shape=(genes,)))(keys))
            algorithm = make("nsga2", lambda params, batch: jnp.mean(params**2), chunk_size=1)
            state = gajax.start(algorithm, jax.random.key(2), population, sharding.replicate(DATA))
            stages = algorithm.stages(size, len(INPUTS))(1)
            setting = stages, jax.random.key(3), state, DATA, 1
            compiled = gajax.run_generations.lower(*setting, count=1).compile()
        memory = compiled.memory_analysis()
        return memory.temp_size_in_bytes + memory.argument_size_in_bytes

    population = 4 * size * genes
    assert needed(1) < 3.1 * population
    assert needed(devices) < 6.1 * population / devices


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_individuals_are_taken_from_all_sources(devices):
    sources = jnp.arange(48.0).reshape(16, 3), -jnp.arange(24.0).reshape(8, 3)
    indices = jax.random.permutation(jax.random.key(0), 24)[:16]
    with on(devices):
        trees = tuple({"genes": sharding.place(source), "none": None} for source in sources)
        taken = jax.jit(sharding.take)(trees, indices)
    np.testing.assert_array_equal(taken["genes"], jnp.concatenate(sources)[indices])


def test_children_of_a_couple_may_live_on_two_devices():
    """Three children of a device come from two couples, one of which it shares."""
    population = jnp.arange(8.0)

    def couple(key, mother, father):
        return mother, father

    def children():
        mothers, fathers = jnp.array([0, 1, 2, 3, 4, 5]), jnp.array([7, 6, 5, 4, 3, 2])
        operators = couple, lambda key, child: child, jax.random.key(0)
        return breeding.breed(*operators, population, (mothers, fathers), 12)

    expected = [0, 7, 1, 6, 2, 5, 3, 4, 4, 3, 5, 2]
    np.testing.assert_array_equal(children(), expected)
    with on(4):
        np.testing.assert_array_equal(jax.jit(children)(), expected)


def test_a_population_that_does_not_divide_is_refused():
    population = jnp.zeros((10, 3))
    with (
        on(4),
        pytest.raises(ValueError, match="must be a multiple of the 4 devices.* 8 or 12, not"),
    ):
        sharding.place(population)
    algorithm = gajax.ga(loss_fn, **OPTIONS["ga"] | {"survivors": 6}, batch_size=BATCH)
    steps = gajax.evolve(algorithm, jax.random.key(2), POPULATION, DATA, generations=1)
    with on(4), pytest.raises(ValueError, match="number of survivors must be a multiple of the 4"):
        next(steps)


def test_outside_a_mesh_nothing_is_placed():
    population = {"genes": jnp.zeros((3, 2))}
    assert sharding.place(population) is population and sharding.replicate(population) is population
