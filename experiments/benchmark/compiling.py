"""Benchmark of the time to the first generation, nearly all of which is compilation."""

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

import gajax
from experiments.benchmark.measure import Row, Sizes, timed_anew
from experiments.front import networks

NETWORKS = ("mlp", (32,), (8, 8, 1)), ("lenet", (), (28, 28, 1))
"""Name, hidden layers and shape of the images."""

_BATCH = 50
_ADAM = optax.adam(0.01)


def first_generations(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """The first generation of each algorithm in a process that has compiled nothing.

    The floor is that of one network trained by a plain loop. The note has the seconds of all
    threads together.
    """
    for name, hidden, shape in NETWORKS:
        network = networks.make(name, hidden, shape, 10)
        population = jax.jit(partial(gajax.init, init_fn=network.init, size=sizes.compiled))(
            jax.random.key(0)
        )
        images = jax.random.bits(jax.random.key(1), (1_000, shape[0] * shape[1]), jnp.uint8)
        data = gajax.Data({"images": images, "labels": jnp.arange(1_000) % 10}, jax.random.key(2))
        refine = gajax.Refine(gajax.sparse(_ADAM), steps=5)
        algorithms = {
            "ga": partial(gajax.ga, optimizer=_ADAM, survivors=sizes.compiled // 2),
            "gemonn": partial(gajax.gemonn, refine=refine),
            "descent": partial(gajax.descent, optimizer=_ADAM),
        }
        for algorithm, make in algorithms.items():
            made = make(network.loss_fn, batch_size=_BATCH)
            run = partial(_first_generation, made, population, data)
            floor = partial(_train_one, network, population, data)
            # A first call would compile nothing that the next ones need, so there is none.
            taken = [(*timed_anew(run), timed_anew(floor)[0]) for _ in range(repeats)]
            seconds, processor, floor_seconds = map(median, zip(*taken, strict=True))
            yield Row(
                9,
                f"first generation of {algorithm}",
                f"{name}, {sizes.compiled} individuals",
                seconds,
                floor_seconds,
                {},
                f"{processor:.1f} s of processor time",
            )


def _first_generation(algorithm: gajax.Algorithm, population: Any, data: gajax.Data) -> Any:
    *_, (state, _) = gajax.evolve(algorithm, jax.random.key(3), population, data, generations=1)
    return state


def _train_one(network: networks.Network, population: Any, data: gajax.Data) -> Any:
    def body(batch: Any, carry: Any) -> Any:
        params, state = carry
        rows = jax.tree.map(
            lambda leaf: lax.dynamic_slice_in_dim(leaf, batch * _BATCH, _BATCH), data.examples
        )
        gradient = jax.grad(network.loss_fn)(params, rows)
        updates, state = _ADAM.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def train(params: Any) -> Any:
        return lax.fori_loop(0, 20, body, (params, _ADAM.init(params)))

    return train(gajax.take(population, 0))
