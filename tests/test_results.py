"""The front of a state: who is in it, in which order, and how it reads."""

import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from small_model import DATA, SIZE, loss_fn, make, population

import gajax


def state_of(loss, metrics=None, **objectives):
    """What `front` reads of a state; each gene is the number of its individual."""
    columns = {name: jnp.asarray(values, float) for name, values in objectives.items()}
    return SimpleNamespace(
        params={"gene": jnp.arange(float(len(loss)))},
        loss=jnp.asarray(loss, float),
        metrics={name: jnp.asarray(values) for name, values in (metrics or {}).items()},
        objectives=columns,
    )


def members(front):
    return front.individuals["gene"].tolist()


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "columns, expected",
    [
        ({"a": [3, 1, 2], "loss": [1, 3, 2]}, [1, 2, 0]),
        ({"a": [1, 2, 3], "loss": [1, 2, 3]}, [0]),
        ({"a": [2, 1, 2], "loss": [1, 2, 3]}, [1, 0]),  # as low in one, higher in the other
        ({"a": [1, 1, 1], "loss": [2, 1, 1]}, [1]),  # the first of equals
        ({"a": [1, 0, 2, -INF], "loss": [2, NAN, 1, 0]}, [0, 2]),
        ({"a": [NAN, NAN], "loss": [1, INF]}, []),
        ({"a": [1, 2, 1, 2], "b": [1, 1, 2, 0], "loss": [2, 1, 1, 3]}, [0, 2, 3, 1]),
    ],
)
def test_who_is_in_it(columns, expected):
    front = gajax.front(state_of(**columns))
    assert members(front) == expected and len(front) == len(expected)
    assert [*front.objectives] == [*columns]
    for name, column in columns.items():
        assert isinstance(front.objectives[name], np.ndarray)
        np.testing.assert_array_equal(front.objectives[name], np.array(column)[expected])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("most", [3, 1000], ids=["ties", "few ties"])
def test_the_same_as_by_comparing_all(count, most):
    points = np.random.default_rng(count).integers(0, most, (60, 1 + count)).astype(float)
    dominated = {
        i
        for i, j in itertools.permutations(range(len(points)), 2)
        if (points[j] <= points[i]).all() and ((points[j] < points[i]).any() or j < i)
    }
    names = [f"objective {index}" for index in range(count)]
    columns = dict(zip(names, points.T, strict=False))
    found = members(gajax.front(state_of(points[:, -1], **columns)))
    assert set(found) == set(range(len(points))) - dominated
    assert found == sorted(found, key=lambda index: tuple(points[int(index)]))


def test_columns_of_the_caller_and_metrics():
    state = state_of([1, 2, 3], {"accuracy": [0.9, 0.8, 0.7]}, size=[3, 2, 1])
    front = gajax.front(state, {"parts": np.array([1, 2, 0]), "area": np.array([0, 0, 1])})
    assert members(front) == [2, 0]
    assert [*front.objectives] == ["parts", "area", "loss"]
    np.testing.assert_array_equal(front.metrics["accuracy"], np.float32([0.7, 0.9]))


def test_one_individual():
    front = gajax.front(state_of([3, 2, 1], a=[1, 2, 3]))
    assert [float(front.take(index)["gene"]) for index in (0, 2, -1)] == [0, 2, 2]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"^index must be from -3 to 2, not {index}$"):
            front.take(index)


def test_the_knee():
    front = gajax.front(state_of([9, 2, 1, 0], density=[1, 2, 8, 10]))
    assert front.knee() == 1
    with pytest.raises(ValueError, match="^the front must hold an individual with finite"):
        gajax.front(state_of([np.nan], density=[1])).knee()


def test_the_table():
    state = state_of([0.25, 12, np.nan], {"accuracy": [0.5, np.nan, 0]}, density=[1, 0.0123456, 0])
    assert str(gajax.front(state)) == "\n".join(
        [
            "   density  loss  accuracy",
            "0  0.01235    12       nan",
            "1        1  0.25       0.5",
        ]
    )
    assert str(gajax.front(state_of([np.nan], density=[1]))) == "  density  loss"


@pytest.mark.parametrize(
    "state, words",
    [
        (state_of([[1.0], [2.0]]), "^the state must be of one seed, not of 2$"),
        (state_of([1.0]), "^objectives must name a column beside the loss, not none$"),
        (
            SimpleNamespace(loss=jnp.ones(1)),
            "^objectives must name a column beside the loss, not none$",
        ),
    ],
)
def test_states_without_a_front(state, words):
    with pytest.raises(ValueError, match=words):
        gajax.front(state)


def test_the_state_of_a_run():
    algorithm = make("nsga2", loss_fn)
    for state, _ in gajax.evolve(algorithm, 0, population(), DATA, generations=3):
        front = gajax.front(state)
    assert 1 < len(front) <= SIZE
    np.testing.assert_allclose(front.objectives["density"], gajax.density(front.individuals))
    assert (np.diff(front.objectives["loss"]) < 0).all()
    with pytest.raises(ValueError, match="^the state must be of one seed"):
        gajax.front(state._replace(loss=state.loss[None]))
