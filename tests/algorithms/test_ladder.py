"""The ladder of densities against plain NumPy and optax, batch by batch."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import evaluation, mutation

BATCH, WEIGHTS, BIASES, EXAMPLES, GENERATIONS, STEPS = 5, 64, 11, 43, 6, 3
DENSITIES = (0.6, 0.3, 0.28, 0.1)  # 38, 19, 18 and 6 weights
P = len(DENSITIES)
OPTIMIZER = optax.adam(0.05)


def loss_fn(params, batch, scale):
    hidden = jnp.tanh(batch["inputs"] @ params["first"]["kernel"] + params["first"]["bias"])
    outputs = hidden @ params["second"]["kernel"] + params["second"]["hidden_bias"]
    return scale * jnp.mean((outputs - batch["targets"]) ** 2)


def draw(key):
    keys = jax.random.split(key, 3)
    second = jax.random.normal(keys[1], (8, 3)), jax.random.normal(keys[2], (3,))
    return {
        "first": {"kernel": jax.random.normal(keys[0], (5, 8)), "bias": jnp.full(8, 0.1)},
        "second": {"kernel": second[0], "hidden_bias": second[1]},
    }


@cache
def data():
    drawn = np.random.default_rng(0)
    sizes = {"inputs": (EXAMPLES, 5), "targets": (EXAMPLES, 3)}
    examples = {name: drawn.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    return gajax.Data(examples, jax.random.key(2), (jnp.float32(2),))


def algorithm(**changed):
    options = {"optimizer": OPTIMIZER, "generations": GENERATIONS, "steps": STEPS, "grow": 0.2}
    options |= {"densities": DENSITIES, "batch_size": BATCH} | changed
    return gajax.ladder(loss_fn, **options)


@cache
def run(size=1, seed=4, **options):
    population = gajax.init(3, draw, 1)
    population = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0), population)
    steps = gajax.evolve(algorithm(**options), seed, population, data())
    return [(jax.device_get(state), info) for state, info in steps]


def weights(params):
    return np.concatenate([np.ravel(params[layer]["kernel"]) for layer in ("first", "second")])


def put(params, vector):
    first, second = np.split(vector, [40])
    return {
        "first": {"kernel": first.reshape(5, 8), "bias": params["first"]["bias"]},
        "second": {"kernel": second.reshape(8, 3), "hidden_bias": params["second"]["hidden_bias"]},
    }


def masked(params, alive):
    return put(params, np.where(alive, weights(params), 0))


def mean(first, second):
    return jax.tree.map(
        lambda a, b: (a + b) / 2 if np.issubdtype(a.dtype, np.floating) else a, first, second
    )


@cache
def compiled():
    return jax.jit(jax.value_and_grad(loss_fn)), jax.jit(OPTIMIZER.update)


def value_and_grad(params, rows):
    batch = {name: values[rows] for name, values in data().examples.items()}
    return compiled()[0](params, batch, *data().shared)


def trained(params, state, kept, whole, order):
    """A child that is pruned, regrown on the first batch and trained on the others."""
    scores = np.abs(weights(params))
    alive = np.isin(np.arange(WEIGHTS), np.argsort(-scores)[:kept]) & (scores > 0)
    params = masked(params, alive)
    updates, _ = compiled()[1](value_and_grad(params, order[0])[1], state, params)
    scores = np.where(alive, -1, np.abs(weights(updates)))
    alive = alive | np.isin(np.arange(WEIGHTS), np.argsort(-scores)[: whole - alive.sum()])
    for rows in order[1:]:
        _, gradient = value_and_grad(params, rows)
        updates, state = compiled()[1](gradient, state, params)
        params = optax.apply_updates(params, masked(updates, alive))
    return params, state


def plan(generation, share):
    """The examples that judge, the batches of each child, and the numbers of their weights."""
    per_epoch = EXAMPLES // BATCH  # fewer than a generation wants, 2 + 4 * (1 + 3)
    first = (generation - 1) * per_epoch
    order = np.asarray(evaluation.batch_order(data(), first, per_epoch, batch_size=BATCH))
    batches = 2 + np.arange(P * (1 + STEPS)) % (per_epoch - 2)
    falling = np.array([0.5, 0.4, 0.3, 0.2]) * GENERATIONS  # the last is less than 2
    left = np.maximum(0, 1 - generation / falling) ** 3
    shares = np.array(DENSITIES) * (1 - left) + share * left
    whole = np.round(shares * WEIGHTS).astype(int)
    grow = 0.2 if generation > 1 else 0
    grown = np.round(grow * (1 - (generation - 1) / GENERATIONS) * shares * WEIGHTS).astype(int)
    return order[:2].reshape(-1), order[batches].reshape(P, 1 + STEPS, BATCH), whole, grown


def individuals(state, field="params", memory="optimizer_state"):
    pair = getattr(state, field), getattr(state, memory)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], pair) for i in range(P)]


@pytest.mark.parametrize(
    ("share", "generations"), [pytest.param(1, GENERATIONS, marks=pytest.mark.heavy), (0.6, 3)]
)
def test_every_generation_is_what_plain_loops_make_of_the_one_before(share, generations):
    ancestor = jax.device_get(gajax.take(gajax.init(3, draw, 1), 0))
    before, sides = [(ancestor, jax.device_get(OPTIMIZER.init(ancestor)))] * P, set()
    for generation, (state, info) in enumerate(run(start=share)[:generations], 1):
        judged, order, whole, grown = plan(generation, share)
        children = individuals(state, "offspring", "offspring_state")
        for i, child in enumerate(children):
            partners = {i} if generation % 2 else {max(i - 1, 0), min(i + 1, P - 1)}
            same = []
            for partner in partners:
                start = mean(before[i], before[partner])
                wanted = trained(*start, whole[i] - grown[i], whole[i], order[i])
                pairs = zip(*map(jax.tree.leaves, (child, wanted)), strict=True)
                if all(np.allclose(a, b, rtol=2e-4, atol=1e-5) for a, b in pairs):
                    same.append(partner - i)
            assert same, (generation, i)
            sides |= set(same)
        candidates = before + children
        losses = [float(value_and_grad(params, judged)[0]) for params, _ in candidates]
        numbers = [np.sum(weights(params) != 0) for params, _ in candidates]
        best = [
            min((loss, j) for j, loss in enumerate(losses) if numbers[j] <= limit)[1]
            for limit in whole
        ]
        np.testing.assert_allclose(info.loss, [losses[j] for j in best], rtol=1e-5)
        density = [(numbers[j] + BIASES) / (WEIGHTS + BIASES) for j in best]
        np.testing.assert_allclose(state.objectives["density"], density, rtol=1e-6)
        before = individuals(state)
        for one, j in zip(before, best, strict=True):
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), one, candidates[j])
    assert generation == generations and sides == {-1, 0, 1}


def test_costs_and_the_end():
    for _, info in run():
        assert info.gradient_examples == P * BATCH * (1 + STEPS)
        assert info.forward_examples == 2 * P * 2 * BATCH
        assert info.sequential_steps == 1 + STEPS + 1
    with pytest.raises(ValueError, match="generations must be fewer than 7"):
        run_to(GENERATIONS + 1)


def run_to(generations):
    return list(
        gajax.evolve(algorithm(), 1, gajax.init(3, draw, 1), data(), generations=generations)
    )


def test_children_have_mutated_means_of_the_learning_rates_of_their_parents():
    """A rate of 0 moves nothing; each child halves or doubles what it inherits."""
    ancestor = gajax.init(3, draw, 1)
    rates = {"rate": jnp.array([0.01])}
    options = {"optimizer": lambda hyper: optax.sgd(hyper["rate"]), "competes": False}
    options["hyper_mutation"] = partial(mutation.scale, factor=2.0)
    setting = algorithm(**options), 4, gajax.Individual(ancestor, hyper=rates), data()
    before, seen = np.full(P, 0.01), set()
    for generation, (state, _) in enumerate(gajax.evolve(*setting), 1):
        after = np.asarray(state.params.hyper["rate"])
        for i in range(P):
            partners = {i} if generation % 2 else {max(i - 1, 0), min(i + 1, P - 1)}
            inherited = np.array([(before[i] + before[j]) / 2 for j in partners])
            ratios = after[i] / inherited
            assert np.isclose(ratios[:, None], [0.5, 2]).any(), (generation, i)
            seen |= set(ratios.round(2))
        before = after
    assert {0.5, 2} <= seen
    options["mixing"] = 0
    still = gajax.Individual(ancestor, hyper={"rate": jnp.zeros(1)})
    for state, _ in gajax.evolve(algorithm(**options), 4, still, data()):
        moved = weights(jax.device_get(gajax.take(state.params.params, 0)))
        kept = moved[moved != 0]
        assert np.isin(kept, weights(gajax.take(ancestor, 0))).all()


def test_one_ancestor_or_as_many_copies_of_it_are_the_same():
    for (one, _), (other, _) in zip(run(), run(size=P), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_without_mixing_lineages_stay_apart_and_without_competition_children_replace_parents():
    *_, (alone, _) = run(mixing=0, competes=False)
    for field, memory in (("params", "optimizer_state"), ("offspring", "offspring_state")):
        for one, other in zip(individuals(alone, field, memory), individuals(alone), strict=True):
            jax.tree.map(np.testing.assert_array_equal, one, other)
    numbers = [np.sum(weights(params) != 0) for params, _ in individuals(alone)]
    np.testing.assert_array_equal(numbers, np.round(np.array(DENSITIES) * WEIGHTS))
    info = run(mixing=0, competes=False)[-1][1]
    assert info.forward_examples == P * 2 * BATCH, "parents are not judged"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"densities": ()}, "densities must be above 0 and at most 1, not ()"),
        ({"densities": (0.5, 1.5)}, "densities must be above 0 and at most 1, not (0.5, 1.5)"),
        ({"start": 0.2}, "densities must be above 0 and at most 0.2, not"),
        ({"start": 1.5}, "start must be from 0 to 1, not 1.5"),
        ({"grow": -0.1}, "grow must be from 0 to 1, not -0.1"),
        ({"mixing": 2.0}, "mixing must be from 0 to 1, not 2.0"),
        ({"reach": (0.5, 1.01)}, "reach[1] must be from 0 to 1, not 1.01"),
        ({"reach": (-0.5, 0.5)}, "reach[0] must be from 0 to 1, not -0.5"),
        ({"steps": 0}, "steps must be 1 or more, not 0"),
        ({"generations": 0}, "generations must be 1 or more, not 0"),
        ({"batch_size": 15}, "batch_size must be from 1 to 14, not 15"),
        ({"densities": (0.5, 0.4, 0.1)}, "the population must be 1 or 3 individuals, not 4"),
    ],
)
def test_wrong_arguments_are_refused(changed, message):
    with pytest.raises(ValueError) as raised:
        gajax.start(algorithm(**changed), 0, gajax.init(3, draw, P), data())
    assert message in str(raised.value)
