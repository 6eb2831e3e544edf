"""What does not fit together is said before anything compiles, in one sentence."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from gajax import crossover, mutation, programs

SGD, SIZE = optax.sgd(0.1), 4
POPULATION = {"kernel": jnp.ones((SIZE, 3)), "bias": jnp.zeros(SIZE)}
EXAMPLES = {"inputs": np.ones((8, 3), np.float32), "targets": np.ones(8, np.float32)}


def errors(params, batch):
    return batch["inputs"] @ params["kernel"] + params["bias"] - batch["targets"]


def loss_fn(params, batch):
    return jnp.mean(errors(params, batch) ** 2)


def with_metrics(**metrics):
    return gajax.with_context(lambda *_: gajax.Output(jnp.float32(0), metrics=metrics))


def one_child(key, first, second):
    return first


def ga(loss=loss_fn, **options):
    return gajax.ga(loss, **{"optimizer": SGD, "survivors": 2, "batch_size": 4} | options)


def nsga2(loss=loss_fn, **options):
    return gajax.nsga2(loss, **{"batch_size": 4, "crossover": crossover.uniform} | options)


def gemonn(loss=loss_fn, **options):
    return gajax.gemonn(loss, batch_size=4, **options)


def descent(loss=loss_fn, **options):
    return gajax.descent(loss, **{"optimizer": SGD, "batch_size": 4} | options)


REFUSED = {  # algorithm, changes of the population, message
    "loss of each example": (
        ga(errors),
        {},
        r"loss_fn must return one real number, not float32\[4\]",
    ),
    "integer loss": (descent(lambda params, batch: jnp.arange(2)), {}, r"one real number, not int"),
    "complex loss": (
        nsga2(lambda params, batch: jnp.complex64(1)),
        {},
        r"one real number, not complex64\[\]",
    ),
    "auxiliary values": (
        descent(lambda params, batch: (loss_fn(params, batch), {})),
        {},
        "wrap it by gajax.with_context",
    ),
    "output without a wrapper": (
        nsga2(lambda params, batch: gajax.Output(loss_fn(params, batch))),
        {},
        "loss_fn must be wrapped by gajax.with_context",
    ),
    "metric of each example": (
        descent(with_metrics(hits=jnp.ones(4))),
        {},
        r"metric 'hits' of loss_fn must .* float32\[4\]",
    ),
    "state that the individuals lack": (
        descent(gajax.with_context(lambda *_: gajax.Output(jnp.float32(0), {"mean": jnp.ones(2)}))),
        {},
        r"the state of loss_fn must have the leaves \[\], not \['mean'\]",
    ),
    "other data": (
        ga(),
        {"kernel": jnp.ones((SIZE, 5))},
        "loss_fn must work for one individual .* TypeError",
    ),
    "a name that is not there": (
        ga(lambda params, batch: params["weight"].sum()),
        {},
        "it raised KeyError: 'weight'",
    ),
    "gradient alone": (
        descent(value_and_grad=jax.grad(loss_fn)),
        {},
        "value_and_grad must return a loss and a grad",
    ),
    "gradient of something else": (
        gemonn(value_and_grad=lambda params, batch: (jnp.float32(0), {"kernel": params["kernel"]})),
        {},
        r"the gradient of value_and_grad must have the leaves .* not \['kernel'\]",
    ),
    "one child": (ga(crossover=one_child), {}, "crossover must return 2 children of 2 parents"),
    "children without a leaf": (
        nsga2(crossover=lambda key, first, second: ({"kernel": first["kernel"]}, second)),
        {},
        r"a child of crossover must have the leaves \['bias', 'kernel'\], not \['kernel'\]",
    ),
    "mutant of another type": (
        ga(mutation=lambda key, tree: jax.tree.map(lambda leaf: leaf.astype(jnp.float16), tree)),
        {},
        r"what mutation returns must keep 'bias' as float32\[\], not float16\[\]",
    ),
    "mutation of a pair": (ga(mutation=lambda key: key), {}, "mutation must work .* TypeError"),
    "crossover without signs": (
        gemonn(crossover=lambda key, first, second: (first, second)),
        {},
        "crossover must .* TypeError",
    ),
    "objective of each gene": (
        nsga2(objectives={"size": lambda genes: jnp.abs(genes["kernel"])}),
        {},
        r"objectives\['size'\] must return one real number, not float32\[3\]",
    ),
    "objective named loss": (
        nsga2(objectives={"loss": gajax.individual.density}),
        {},
        "other names",
    ),
    "no objective": (nsga2(objectives={}), {}, "one or more beside the loss"),
    "integers": (ga(), {"kernel": jnp.ones((SIZE, 3), int)}, "'kernel' is int32"),
    "booleans": (descent(), {"bias": jnp.ones(SIZE, bool)}, "'bias' is bool"),
    "keys": (gemonn(), {"bias": jax.random.split(jax.random.key(0), SIZE)}, r"'bias' is key<fry>"),
    "no element": (nsga2(), {"kernel": jnp.ones((SIZE, 0))}, r"'kernel' has the shape \(4, 0\)"),
    "predicate of nothing": (
        ga(mutation=partial(mutation.zero, may_be_zero=lambda path, leaf: path == "weight")),
        {},
        "predicate must hold for a leaf",
    ),
    "sparse steps of nothing": (
        gemonn(refine=gajax.Refine(gajax.sparse(SGD, may_be_zero=lambda path, leaf: False), 1)),
        {},
        "optimizer must work .* the predicate must hold for a leaf",
    ),
    "mask of other leaves": (
        descent(optimizer=optax.masked(SGD, {"kernel": True})),
        {},
        "optimizer must work for one individual",
    ),
    "genes out of bounds": (
        nsga2(crossover=partial(crossover.sbx, bound=2)),
        {"bias": jnp.array([0, -3.5, 1, 0])},
        "within the bound 2 of crossover, but 'bias' has 3.5",
    ),
    "genes out of one of the bounds": (
        nsga2(crossover=partial(crossover.sbx, bound={"kernel": 0.5, "bias": 9.0})),
        {},
        "within the bound 0.5 of crossover, but 'kernel' has 1",
    ),
    "optimiser that is not called": (descent(optimizer=optax.adam), {}, "optimizer must be one of"),
    "hyper-parameters that are not there": (
        ga(optimizer=lambda hyper: optax.sgd(hyper["rate"])),
        {},
        "population of gajax.Individual",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_says_what_is_wrong(name):
    algorithm, changes, message = REFUSED[name]
    population = {**POPULATION, **changes}
    compiled = programs.start._cache_size()
    for run in (partial(gajax.evolve, generations=1), gajax.start):
        with pytest.raises(ValueError, match=message) as raised:
            run(algorithm, 0, population, gajax.Data(EXAMPLES, 1))
        assert "\n" not in str(raised.value)
    assert programs.start._cache_size() == compiled


def test_hyper_parameters_must_fit_their_optimiser_and_mutation():
    population = gajax.Individual(POPULATION, hyper={"rate": jnp.ones(SIZE)})
    for algorithm, message in (
        (
            ga(optimizer=lambda hyper: optax.sgd(hyper["speed"])),
            "optimizer must .* KeyError: 'speed'",
        ),
        (ga(optimizer=lambda hyper: hyper["rate"]), "it must make an optimiser of optax"),
        (
            ga(
                optimizer=lambda hyper: optax.sgd(hyper["rate"]),
                hyper_mutation=lambda key, hyper: {},
            ),
            "what hyper_mutation returns must have the leaves",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            gajax.evolve(algorithm, 0, population, gajax.Data(EXAMPLES, 1), generations=1)
    whole = population._replace(hyper={"rate": jnp.ones(SIZE, int)})
    with pytest.raises(
        ValueError, match="hyper-parameters must be floating-point.*'rate' is int32"
    ):
        gajax.evolve(ga(), 0, whole, gajax.Data(EXAMPLES, 1), generations=1)


@pytest.mark.parametrize("make", [ga, nsga2, gemonn, descent])
def test_what_fits_together_passes_with_seeds_too(make):
    assert gajax.evolve(make(), 0, POPULATION, gajax.Data(EXAMPLES, 1), generations=1)
    seeds = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), POPULATION)
    data = gajax.Data(jax.tree.map(lambda leaf: leaf[None], EXAMPLES), jax.random.key(1)[None])
    assert gajax.evolve(make(), jax.random.split(jax.random.key(0)), seeds, data, generations=1)
