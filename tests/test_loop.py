"""Running: what is compiled and when, what is put on the device, and when a run ends."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import crossover, mutation, programs

ADAM = optax.adam(0.1)
SIZE, EXAMPLES, GENERATIONS = 4, 8, 3


def factories():
    """Each algorithm's factory with arguments that are equal in every call, yet made anew."""
    refine = gajax.Refine(ADAM, steps=1, interval=2)
    cross = partial(crossover.uniform, rate=0.3)
    mutate = partial(mutation.gaussian, rate=0.5, scale=0.1)
    return {
        "ga": partial(gajax.ga, survivors=2, optimizer=ADAM, crossover=cross, mutation=mutate),
        "nsga2": partial(gajax.nsga2, crossover=cross, mutation=mutate),
        "gemonn": partial(gajax.gemonn, refine=refine, mutation=mutate),
        "descent": partial(gajax.descent, optimizer=ADAM),
        "refinement": partial(gajax.refinement, optimizer=ADAM, steps=3, checks=3),
    }


FIRST = {"descent": 1}


def data(seed):
    return gajax.Data(jax.random.normal(jax.random.key(seed), (EXAMPLES, 3)), jax.random.key(seed))


def population(seed):
    return {"weights": jax.random.normal(jax.random.key(seed), (SIZE, 3))}


class Traced:
    """An algorithm by its name, and the list that its loss grows by one each time it is traced."""

    def __init__(self, name):
        self.name, self.traces = name, []
        self.algorithm = self.make()

    def make(self):
        return factories()[self.name](self._loss_fn, batch_size=4)

    def _loss_fn(self, params, batch):
        self.traces.append(None)
        return jnp.mean((params["weights"] - batch) ** 2)

    def evolve(self, seed=0, algorithm=None, **options):
        key, made = jax.random.key(0), algorithm or self.algorithm
        options = {"generations": GENERATIONS} | options
        return gajax.evolve(made, key, population(seed), data(seed), **options)


@pytest.fixture(
    scope="module",  # nsga2 is as gemonn, but for its operators
    params=[
        pytest.param(name, marks=[pytest.mark.heavy] * (name == "nsga2")) for name in factories()
    ],
)
def traced(request):
    return Traced(request.param)


def weights(steps):
    return [np.array(state.params["weights"]) for state, _ in steps][-1]


@pytest.mark.parametrize("name", factories())
def test_equal_arguments_give_the_same_algorithm(name):
    one = Traced(name)
    assert one.make() is one.algorithm


@pytest.mark.parametrize("together", [None, 3])
def test_the_same_shapes_are_traced_once(traced, together):
    traces = len(traced.traces)
    first = weights(traced.evolve(together=together))
    traced_once = len(traced.traces)
    assert traced_once > traces
    again = weights(traced.evolve(together=together))
    equal = traced.make()
    assert equal is traced.algorithm, "equal arguments give the same algorithm"
    by_equal = weights(traced.evolve(algorithm=equal, together=together))
    other = weights(traced.evolve(1, together=together))
    assert len(traced.traces) == traced_once
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, by_equal)
    assert (first != other).any(), "the data are no part of the program"


def test_no_piece_is_traced_for_its_length(traced):
    weights(traced.evolve())
    traces = len(traced.traces)
    weights(traced.evolve(seconds=1e-9))
    assert len(traced.traces) == traces


def test_other_arguments_make_another_algorithm(traced):
    make = factories()[traced.name]
    assert make(lambda params, batch: jnp.mean(batch), batch_size=4) is not traced.algorithm
    assert make(traced._loss_fn, batch_size=2) is not traced.algorithm


def test_arguments_that_cannot_be_compared_make_algorithms_all_the_same():
    mutate = partial(mutation.gaussian, rate=0.5, scale=jnp.ones(3))
    make = partial(gajax.nsga2, lambda params, batch: 0.0, batch_size=1, mutation=mutate)
    assert make() is not make()


def test_each_stage_is_announced_once_before_it_runs(traced):
    names, stages = [], []
    for _, info in traced.evolve(seconds=1e-9, on_compile=names.append):
        stages.append(info.stage)
        assert info.stage in names
    assert names == ["start", *dict.fromkeys(stages)]


def test_the_population_of_the_caller_outlives_the_run(traced):
    mine = population(0)
    steps = gajax.evolve(traced.algorithm, jax.random.key(0), mine, data(0), generations=2)
    end = weights(steps)
    np.testing.assert_array_equal(mine["weights"], population(0)["weights"])
    assert (end != mine["weights"]).any()


def test_the_memory_of_a_state_is_used_again_where_that_is_asked_for(traced):
    steps = traced.evolve(donate=True)
    state, _ = next(steps)
    next(steps)
    assert state.params["weights"].is_deleted()


def test_a_kept_state_goes_on_as_often_as_one_likes(traced):
    steps = list(traced.evolve(generations=3))
    expected = np.asarray(steps[-1][0].params["weights"])
    for state, info in [steps[0], steps[0], steps[1]]:
        rest = traced.evolve(generations=3, resume_from=(state, info.position))
        np.testing.assert_array_equal(weights(rest), expected)


@pytest.mark.parametrize("generations", [1, 3])
def test_a_run_ends_after_its_last_generation(traced, generations):
    infos = [info for _, info in traced.evolve(generations=generations)]
    first = FIRST.get(traced.name, 0)
    assert [info.generation for info in infos] == list(range(first, generations + 1))
    assert all(info.done and info.fraction == 1 for info in infos)
    assert infos[-1].position == (generations + 1, 0, 0)


def test_the_first_generation_is_always_done(traced):
    infos = [info for _, info in traced.evolve(generations=0)]
    assert [info.generation for info in infos] == [FIRST.get(traced.name, 0)]


def test_generations_of_the_same_stages_run_together(traced):
    """Every second generation of the front refines its children here, so it goes alone."""
    infos = [info for _, info in traced.evolve(together=3)]
    expected = {"descent": [3], "gemonn": [0, 1, 2, 3]}.get(traced.name, [0, 3])
    assert [info.generation for info in infos] == expected
    costs = ("gradient_examples", "forward_examples", "sequential_steps")
    single = [info for _, info in traced.evolve()]
    for field in costs:
        assert sum(getattr(i, field) for i in infos) == sum(getattr(i, field) for i in single)


def test_arrays_of_numpy_are_put_on_the_device_once(traced, monkeypatch):
    """Every program gets the same arrays of the device."""
    given, piece = [], programs.piece

    def watched(functions, index, key, state, data, *turns):
        given.append(data)
        return piece(functions, index, key, state, data, *turns)

    monkeypatch.setattr(programs, "piece", watched)
    mine = data(0)._replace(examples=np.asarray(data(0).examples))
    steps = gajax.evolve(traced.algorithm, jax.random.key(0), population(0), mine, generations=2)
    end, count = weights(steps), len(given)
    assert isinstance(given[0].examples, jax.Array)
    assert all(one.examples is given[0].examples for one in given) and count > 2
    np.testing.assert_array_equal(end, weights(traced.evolve(generations=2)))


def test_a_state_counts_nothing(traced):
    """Beside `failed` it holds arrays of the population alone."""
    shapes = gajax.state_shapes(traced.algorithm, jax.random.key(0), population(0), data(0))
    assert shapes.failed.shape == ()
    for leaf in jax.tree.leaves(shapes._replace(failed=None)):
        assert leaf.shape[:1] == (SIZE,)


def test_the_shapes_of_a_state_are_those_of_every_state(traced):
    shapes = gajax.state_shapes(traced.algorithm, jax.random.key(0), population(0), data(0))
    for state, _ in traced.evolve(seconds=1e-9):
        result = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
        assert result == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes)


def test_the_best_individual_has_the_lowest_loss(traced):
    for state, info in traced.evolve():
        best = gajax.best(state)
        index = int(np.argmin(info.loss))
        np.testing.assert_array_equal(best["weights"], state.params["weights"][index])


@pytest.mark.parametrize(
    "loss, index",
    [
        ([3.0, 1.0, 2.0], 1),
        ([jnp.nan, 5.0, jnp.inf], 1),
        ([-jnp.inf, jnp.nan, 7.0], 2),
        ([2.0, 1.0, 1.0], 1),
        ([jnp.nan, jnp.inf, -jnp.inf], 0),
    ],
)
def test_no_individual_without_a_finite_loss_is_the_best_of_others(loss, index):
    params = {"w": jnp.arange(6.0).reshape(3, 2)}
    state = SimpleNamespace(params=params, loss=jnp.array(loss))
    np.testing.assert_array_equal(gajax.best(state)["w"], state.params["w"][index])
