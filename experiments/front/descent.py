"""Plain gradient descent of a dense network: the ends of the fronts that everybody knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

import gajax
from experiments.front.measures import Step
from experiments.front.networks import Network
from experiments.running.checkpoints import Checkpoint
from gajax import evaluation

RATES = (0.1, 0.01, 0.001)


def names(rates: tuple[float, ...] = RATES) -> tuple[str, ...]:
    """What the individuals of `descent` are called."""
    return tuple(f"{rule} {rate:g}" for rule in ("SGD", "Adam") for rate in rates)


NAMES = names()


class Stretch(NamedTuple):
    """The batches `start` to `stop` of a run, to be found at these indices modulo T in `order`."""

    order: Int[Array, "T B"]
    start: int
    stop: int


class RuleState(NamedTuple):
    """The state of `sgd_or_adam`, so that every individual may have a rule of its own."""

    rate: Float[Array, ""]
    is_adam: Bool[Array, ""]
    adam: Any


def descent(
    key: Key[Array, ""],
    network: Network,
    data: gajax.Data,
    *,
    budget: float,
    batch_size: int,
    rates: tuple[float, ...] = RATES,
    resumed: Checkpoint | None = None,
) -> Iterator[Step]:
    """Train the individuals `names(rates)`: one dense network by SGD and by Adam at each rate.

    All start from the same network, see the same batches and take `budget` gradient examples each.
    The costs in `info` are those of one individual, for each is a method by itself. The loss is the
    mean over the batches since the last yield; a generation is an epoch. With a checkpoint, the
    first yield is the one at which it was made.
    """
    total = int(budget // batch_size)
    if total < 1:
        raise ValueError(f"a budget of {budget} is less than a batch of {batch_size}")
    data = jax.device_put(data)
    population, state = _start(key, network.init, jnp.array(rates, jnp.float32))
    epoch = evaluation.example_count(data) // batch_size
    stretches = split(data, [total], batch_size=batch_size, individuals=2 * len(rates))
    for order, start, stop in stretches:
        if resumed and stop < resumed.facts["batches"]:
            continue
        if resumed and stop == resumed.facts["batches"]:
            numbers = jax.ShapeDtypeStruct((2 * len(rates),), jnp.float32)
            trees = population, state, numbers, numbers
            population, state, loss, density = resumed.take(trees)
        else:
            population, state, loss, density = _train(
                network.loss_fn, population, state, data, order, start, stop
            )
        generation, batches = divmod(stop - 1, epoch)
        done = batches + 1 == epoch or stop == total
        info = tell(stop - start, batch_size, loss, generation + 1, (batches + 1) / epoch, done)
        saved = (population, state, loss, density), {"batches": stop}
        yield Step(info, population, np.asarray(density), saved=saved)


def split(
    data: gajax.Data, ends: Collection[int], *, batch_size: int, individuals: int = 1
) -> Iterator[Stretch]:
    """Cut the batches before the largest of `ends` at each of them, and into half seconds of work.

    Epoch after epoch, each in its own order, so batch t is the same however a run is cut.
    """
    examples = evaluation.example_count(data)
    if not 0 < batch_size <= examples:
        raise ValueError(f"batch_size must be from 1 to {examples}, not {batch_size}")
    size = max(1, evaluation.default_examples_per_step() // (individuals * batch_size))
    epochs = -(-size // (examples // batch_size))
    window = epochs * (examples // batch_size)
    start, order = 0, jnp.zeros((window, batch_size), jnp.int32)
    for next_end in sorted({*ends} - {0}):
        while start < next_end:
            if start % window == 0:
                order = _order(data, start // window, batch_size=batch_size, epochs=epochs)
            end = min(next_end, (start // window + 1) * window)
            parts = -(-(end - start) // size)
            bounds = [start + (end - start) * part // parts for part in range(parts + 1)]
            for first, last in zip(bounds, bounds[1:], strict=False):
                yield Stretch(order, first, last)
            start = end


def tell(
    steps: int, batch_size: int, loss: Any, generation: int, fraction: float, done: bool
) -> gajax.Info:
    """What there is to say of as many batches that one individual was trained on."""
    failed = done * np.sum(~np.isfinite(loss))
    values = (generation, fraction, done, loss, failed, steps * batch_size, 0, steps)
    arrays: Any = map(np.asarray, values)
    return gajax.Info(*arrays)


def sgd_or_adam() -> optax.GradientTransformation:
    """SGD or Adam, as its state says."""
    adam = optax.scale_by_adam()

    def init(params: Any) -> RuleState:
        return RuleState(jnp.float32(0), jnp.bool_(False), adam.init(params))

    def update(updates: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
        directions, moments = adam.update(updates, state.adam, params)

        def step(gradient: Array, direction: Array) -> Array:
            return -state.rate * jnp.where(state.is_adam, direction, gradient)

        return jax.tree.map(step, updates, directions), state._replace(adam=moments)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


@partial(jax.jit, static_argnames="init")
def _start(key, init, rates):
    size = 2 * rates.size
    network = init(key)
    population = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), network)
    state: Any = jax.vmap(sgd_or_adam().init)(population)
    is_adam = jnp.arange(size) >= rates.size
    return population, state._replace(rate=jnp.tile(rates, 2), is_adam=is_adam)


@partial(jax.jit, static_argnames="loss_fn")
def _train(loss_fn, population, state, data, order, start, stop):
    population, state, total = evaluation.gradient_steps(
        jax.value_and_grad(loss_fn), sgd_or_adam(), population, state, data, order, start, stop
    )
    return population, state, total / (stop - start), gajax.density(population)


@partial(jax.jit, static_argnames=("batch_size", "epochs"))
def _order(data, window, *, batch_size, epochs):
    return evaluation.batch_order(data, window, batch_size=batch_size, epochs=epochs)
