"""The results of a run do not depend on how it is cut, packed or resumed, to the bit."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_model
from small_model import DATA, FIRST, assert_same, on_host, population
from user_flags import users_flags

import gajax
from gajax import Position, evaluation

NAMES = [*FIRST]
# nsga2 is as gemonn, but for its operators.
LIGHT = [pytest.param(name, marks=[pytest.mark.heavy] * (name == "nsga2")) for name in NAMES]
POPULATION = population()
COSTS = ("gradient_examples", "forward_examples", "sequential_steps")


@pytest.fixture(autouse=True, scope="module")
def setting():
    with users_flags(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "SCORE_BATCH", 20)  # several turns of scoring
        yield


def loss_fn(params, batch):
    return small_model.loss_fn(params, batch)


@cache
def algorithm(name):
    return small_model.make(name, loss_fn)


def last(name):
    """Two generations behind the first one."""
    return FIRST[name] + 2


def evolve(name, seed=0, **options):
    key = jax.random.key(10 + seed)
    options = {"generations": last(name)} | options
    return on_host(gajax.evolve(algorithm(name), key, POPULATION, DATA, **options))


@cache
def whole(name):
    return evolve(name)


@cache
def cut(name):
    """All states and infos of a run that is cut after each turn."""
    return evolve(name, seconds=1e-9)


def cost(steps):
    """What has been counted in all of these steps."""
    infos = [info for _, info in steps]
    return {field: sum(int(getattr(info, field)) for info in infos) for field in COSTS}


def positions(name):
    """All positions of a run, by the plan of the algorithm."""
    plan = algorithm(name).stages(small_model.SIZE, small_model.EXAMPLES)
    return [
        Position(generation, index, turn)
        for generation in range(FIRST[name], last(name) + 1)
        for index, stage in enumerate(plan(generation))
        for turn in range(stage.turns)
    ]


@pytest.mark.parametrize("name", LIGHT)
def test_a_run_can_be_cut_after_each_turn(name):
    places = [*positions(name), Position(last(name) + 1)]
    assert [info.position for _, info in cut(name)] == places[1:]
    assert len(cut(name)) > 2 * len(whole(name))
    ends = [(state, info) for state, info in cut(name) if info.done]
    for (state, info), (expected, expected_info) in zip(ends, whole(name), strict=True):
        assert_same(state, expected)
        assert info.generation == expected_info.generation
        np.testing.assert_array_equal(info.loss, expected_info.loss)
        of_generation = [step for step in cut(name) if step[1].generation == info.generation]
        assert cost(of_generation) == cost([(expected, expected_info)])


@pytest.mark.parametrize("name", LIGHT)
def test_a_run_can_be_resumed_after_each_turn(name):
    """From a state as a file holds it: a list of arrays of NumPy and the known structure."""
    shapes = gajax.state_shapes(algorithm(name), jax.random.key(0), POPULATION, DATA)
    for number, (state, info) in enumerate(cut(name)[:-1], 1):
        leaves = [np.array(leaf) for leaf in jax.tree.leaves(state)]
        for leaf, shape in zip(leaves, jax.tree.leaves(shapes), strict=True):
            assert (leaf.shape, leaf.dtype) == (shape.shape, shape.dtype)
        read = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
        resumed = evolve(name, resume_from=(read, Position(*info.position)))
        assert_same(resumed[-1][0], whole(name)[-1][0])
        assert cost(resumed) == cost(cut(name)[number:])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.heavy] * (name not in ("ga", "descent", "pruning")))
        for name in NAMES
    ],
)
def test_generations_together_are_the_same_generations(name):
    """From the second one on, so that one program is compiled."""
    state, info = whole(name)[0]
    ((together, packed),) = evolve(name, resume_from=(state, info.position), together=2)
    assert_same(together, whole(name)[-1][0])
    assert cost([(together, packed)]) == cost(whole(name)[1:])
    assert packed.generation == last(name) and packed.done and packed.fraction == 1
    np.testing.assert_array_equal(packed.loss, whole(name)[-1][1].loss)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.heavy] * (name != "descent")) for name in NAMES],
)
def test_two_seeds_on_an_axis_are_the_same_runs_cut_or_not(name):
    populations = POPULATION, population(4)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *populations)
    data = gajax.Data(
        jax.tree.map(lambda leaf: leaf[None], DATA.examples), DATA.order_key.reshape(1)
    )

    def evolved(**options):
        keys = jnp.stack([jax.random.key(10), jax.random.key(11)])
        options |= {"generations": last(name)}
        # Older versions of JAX take it for a second use of a key that a loop runs over many.
        with jax.debug_key_reuse(False):
            return on_host(gajax.evolve(algorithm(name), keys, stacked, data, **options))

    together, pieces = evolved(), evolved(seconds=1e-9)
    assert_same(pieces[-1][0], together[-1][0])
    for seed in range(2):
        alone = gajax.evolve(
            algorithm(name),
            jax.random.key(10 + seed),
            populations[seed],
            DATA,
            generations=last(name),
        )
        for (state, info), (expected, expected_info) in zip(together, on_host(alone), strict=True):
            assert_same(jax.tree.map(lambda leaf, seed=seed: leaf[seed], state), expected)
            for field in ("loss", "failed", "gradient_examples", "forward_examples"):
                of_seed = getattr(info, field)[seed]
                np.testing.assert_array_equal(of_seed, getattr(expected_info, field))
        counted = [
            sum(int(i.gradient_examples[seed]) for _, i in run) for run in (together, pieces)
        ]
        assert counted[0] == counted[1] > 0 or name == "nsga2"
