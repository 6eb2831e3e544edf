"""Pruning and regrowth against plain NumPy and optax, and the schedules that they follow."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import evaluation
from gajax.algorithms.pruning import Move

BATCH, WEIGHTS, BIASES = 5, 64, 11
OPTIMIZER = optax.adam(0.05)
MOVES = {
    "pruning": gajax.pruning_moves(((1.0, 4), (0.5, 8), (0.2, 8))),
    "regrowth": gajax.pruning_moves(((1.0, 4), (0.5, 8), (0.2, 8)), regrow=0.4, interval=4),
}
both = pytest.mark.parametrize("name", MOVES)


def loss_fn(params, batch, scale):
    hidden = jnp.tanh(batch["inputs"] @ params["first"]["kernel"] + params["first"]["bias"])
    outputs = hidden @ params["second"]["kernel"] + params["second"]["hidden_bias"]
    return scale * jnp.mean((outputs - batch["targets"]) ** 2)


@cache
def population(key=3, size=1):
    def draw(key):
        keys = jax.random.split(key, 3)
        second = jax.random.normal(keys[1], (8, 3)), jax.random.normal(keys[2], (3,))
        return {
            "first": {"kernel": jax.random.normal(keys[0], (5, 8)), "bias": jnp.zeros(8)},
            "second": {"kernel": second[0], "hidden_bias": second[1]},
        }

    return gajax.init(jax.random.key(key), draw, size)


@cache
def data(order=2):
    drawn = np.random.default_rng(0)
    examples = {"inputs": drawn.normal(size=(23, 5)), "targets": drawn.normal(size=(23, 3))}
    examples = {name: jnp.asarray(values, jnp.float32) for name, values in examples.items()}
    return gajax.Data(examples, jax.random.key(order), (jnp.float32(2),))


def algorithm(name="pruning", loss_fn=loss_fn, **changed):
    options = {"optimizer": OPTIMIZER, "batch_size": BATCH, "moves": MOVES[name]} | changed
    return gajax.pruning(loss_fn, **options)


def run(name, average=0.0, **options):
    """Copies of all that is yielded, for the next state reuses the memory."""
    arguments = algorithm(name, average=average), jax.random.key(4), population(), data()
    return [(jax.device_get(s), info) for s, info in gajax.evolve(*arguments, **options)]


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def kernels(params):
    """The weights of all leaves, individual by individual."""
    parts = [np.asarray(params[layer]["kernel"]) for layer in ("first", "second")]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def put(params, weights):
    """One individual's genes with these in place of its weights."""
    first, second = np.split(weights, [40])
    return {
        "first": {"kernel": first.reshape(5, 8), "bias": params["first"]["bias"]},
        "second": {"kernel": second.reshape(8, 3), "hidden_bias": params["second"]["hidden_bias"]},
    }


def flat(params):
    return kernels(jax.tree.map(lambda leaf: leaf[None], params))[0]


def oracle(moves, average=0.0):
    """Snapshots, losses and masks at the end of every generation, batch by batch in NumPy."""
    order = iter(np.asarray(evaluation.batch_order(data(), 0, 20, batch_size=BATCH)))
    differentiate, update = jax.jit(jax.value_and_grad(loss_fn)), jax.jit(OPTIMIZER.update)

    def learn(params):
        rows = next(order)
        batch = {name: values[rows] for name, values in data().examples.items()}
        return differentiate(params, batch, *data().shared)

    params = gajax.take(population(), 0)
    state, alive = OPTIMIZER.init(params), np.ones(WEIGHTS, bool)
    snapshots, losses, averaged = [params] * 3, [np.inf] * 3, params
    for move in moves:
        left = round(move.density * WEIGHTS)
        grow = round(move.grow * left)
        scores, seen = np.where(alive, np.abs(flat(params)), -1), []
        if move.density < 1:
            alive = np.isin(np.arange(WEIGHTS), np.argsort(-scores)[: left - grow])
            params = put(params, np.where(alive, flat(params), 0))
        if grow:
            loss, gradient = learn(params)
            updates, _ = update(gradient, state, params)
            scores = np.where(alive, -1, np.abs(flat(updates)))
            alive = alive | np.isin(np.arange(WEIGHTS), np.argsort(-scores)[:grow])
            seen.append(loss)
        while len(seen) < move.stop - move.start:
            loss, gradient = learn(params)
            updates, state = update(gradient, state, params)
            updates = put(updates, np.where(alive, flat(updates), 0))
            params = optax.apply_updates(params, updates)
            averaged = jax.tree.map(
                lambda old, new: average * old + (1 - average) * new, averaged, params
            )
            seen.append(loss)
        for row in range(move.row, 3):
            snapshots[row] = put(averaged, np.where(alive, flat(averaged), 0))
            losses[row] = np.mean(seen)
        yield [*snapshots], [*losses], alive


@pytest.mark.parametrize("average", [0.0, 0.7])
@both
def test_every_generation_is_that_of_a_loop_in_numpy(name, average):
    steps = run(name, average)
    assert len(steps) == len(MOVES[name]) == 5
    before = np.ones(WEIGHTS, bool)
    revived = 0
    expected = oracle(MOVES[name], average)
    for (state, info), (snapshots, losses, alive) in zip(steps, expected, strict=True):
        expected = jax.tree.map(lambda *leaves: np.stack(leaves), *snapshots)
        jax.tree.map(assert_close, state.params, expected)
        np.testing.assert_allclose(info.loss, losses, rtol=1e-5)
        np.testing.assert_array_equal(kernels(state.alive)[0], alive)
        assert info.done and info.failed == 0
        revived += (alive & ~before).sum()
        before = alive
    assert (revived > 0) == (name == "regrowth")


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@both
def test_finished_individuals_have_their_density_and_stay_as_they_are(name):
    states = [state for state, _ in run(name)]
    assert (kernels(states[-1].params) != 0).sum(axis=1).tolist() == [64, 32, 13]
    for generation, row in [(1, 0), (3, 1), (5, 2)]:
        ended = gajax.take(states[generation - 1].params, slice(row, row + 1))
        assert_same(gajax.take(states[-1].params, slice(row, row + 1)), ended)
        assert states[generation - 1].loss[row] == states[-1].loss[row]
    for leaf in ("first", "bias"), ("second", "hidden_bias"):
        assert (states[-1].params[leaf[0]][leaf[1]] != 0).all()


@both
def test_the_cost_is_one_of_each_batch(name):
    infos = [info for _, info in run(name, seconds=1e-9)]
    assert sum(int(info.gradient_examples) for info in infos) == 20 * BATCH
    assert sum(info.sequential_steps for info in infos) == 20
    assert all(info.forward_examples == 0 for info in infos)
    ended = [info for info in infos if info.done]
    assert [info.generation for info in ended] == [1, 2, 3, 4, 5]
    names = {info.stage for info in infos}
    assert names == {"prune", "train", "record"} | ({"regrow"} if name == "regrowth" else set())


@both
def test_cuts_and_resuming_change_no_bit(name):
    whole = [state for state, _ in run(name)]
    pieces = run(name, seconds=1e-9)
    assert_same([state for state, info in pieces if info.done], whole)
    assert len(pieces) >= 20
    for middle in (5, len(pieces) // 2, len(pieces) - 2):
        state, info = pieces[middle]
        assert not info.done
        resumed = run(name, seconds=1e-9, resume_from=(state, info.position))
        assert_same(resumed[-1][0], whole[-1])
        assert len(resumed) == len(pieces) - 1 - middle
    *_, (state, info) = run(name, together=3)
    assert_same(state, whole[-1])
    assert info.generation == 5


@pytest.mark.parametrize(
    "name, options",
    [("pruning", {"seconds": 1e-9}), ("regrowth", {}), ("regrowth", {"together": 3})],
)
def test_seeds_side_by_side_are_runs_of_their_own(name, options):
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), population(3), population(5))
    shared = jax.tree.map(lambda leaf: leaf[None], data())
    keys = jnp.stack([jax.random.key(order) for order in (2, 7)])
    arguments = jax.random.split(jax.random.key(0)), stacked, shared._replace(order_key=keys)
    *_, (state, info) = gajax.evolve(algorithm(name), *arguments, **options)
    assert info.loss.shape == (2, 3)
    for index, (key, order) in enumerate([(3, 2), (5, 7)]):
        alone = algorithm(name), jax.random.key(0), population(key), data(order)
        *_, (expected, _) = gajax.evolve(*alone)
        assert_same(gajax.take(state, index), expected)


@both
def test_later_generations_compile_nothing(name):
    traces = []

    def counted(params, batch, scale):
        traces.append(None)
        return loss_fn(params, batch, scale)

    made = algorithm(name, counted)
    assert made is algorithm(name, counted)
    walk = gajax.evolve(made, jax.random.key(0), population(), data())
    next(walk), next(walk)
    first = len(traces)
    # Of the loss and its gradient on shapes, and then once in each program.
    assert first == 2 + (1 if name == "pruning" else 2) and len(list(walk)) == 3
    assert len(traces) == first


def test_leaves_that_may_not_be_zero_are_no_weights():
    made = algorithm(may_be_zero=lambda path, leaf: leaf.ndim == 2 and path.startswith("first"))
    *_, (state, _) = gajax.evolve(made, jax.random.key(0), population(), data())
    first, second = (np.asarray(state.params[layer]["kernel"]) for layer in ("first", "second"))
    assert (first != 0).sum(axis=(1, 2)).tolist() == [40, 20, 8] and (second != 0).all()


def test_networks_that_diverge_are_counted():
    made = algorithm(optimizer=optax.sgd(1e30))
    *_, (state, info) = gajax.evolve(made, jax.random.key(0), population(), data())
    assert info.failed == 3 and not np.isfinite(state.loss).any()


@pytest.mark.parametrize(
    "size, options, reason",
    [
        (2, {}, "one individual"),
        (1, {"batch_size": 24}, "batch_size must be from 1 to 23"),
        (1, {"moves": (Move(0, 0, 4, 1.0), Move(1, 4, 5, 0.5, 0.1))}, "a batch to train on"),
        (1, {"moves": (Move(0, 0, 4, 1.0), Move(1, 5, 9, 0.5))}, "follow one another"),
        (1, {"moves": (Move(0, 0, 4, 0.5), Move(1, 4, 8, 0.6))}, "fall from 1"),
        (1, {"moves": (Move(0, 0, 4, 1.0), Move(1, 4, 8, 0.0))}, "above 0"),
    ],
)
def test_wrong_arguments_are_refused(size, options, reason):
    with pytest.raises(ValueError, match=reason):
        made = algorithm(**options)
        gajax.evolve(made, jax.random.key(0), population(size=size), data())


def test_moves_reach_each_density_and_then_exchange_weights():
    schedule = ((1.0, 40), (0.5, 80), (0.2, 81), (0.1, 3))
    plain = gajax.pruning_moves(schedule)
    middles = [0.5**0.5, 0.5, 0.1**0.5, 0.2, 0.02**0.5, 0.1]
    np.testing.assert_allclose([move.density for move in plain[1:]], middles)
    assert [move[:3] for move in plain] == [
        *((0, 0, 40), (1, 40, 80), (1, 80, 120), (2, 120, 160), (2, 160, 201)),
        *((3, 201, 202), (3, 202, 204)),
    ]
    exchanges = gajax.pruning_moves(schedule, regrow=0.3, interval=20)
    assert [move.density for move in exchanges] == [1.0, *[0.5] * 4, *[0.2] * 4, 0.1]
    shares = [0.0, *[0.3, 0.225, 0.15, 0.075] * 2, 0.3]
    np.testing.assert_allclose([move.grow for move in exchanges], shares)
    assert [move.stop for move in exchanges[5:]] == [140, 160, 180, 201, 204]


@pytest.mark.parametrize("average", [1.0, -0.1, 1.5])
def test_a_decay_out_of_its_range_is_refused(average):
    with pytest.raises(ValueError, match=f"^average must be from 0 to below 1, not {average}$"):
        algorithm(average=average)
