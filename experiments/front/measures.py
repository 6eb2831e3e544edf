"""Fronts of density against loss: what a method offers, how it is measured and judged."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import gajax
from experiments.front.networks import Network
from experiments.running import steps
from gajax.types import Params

LOWEST_DENSITY = 1e-3
"""Below it, sparser is no better."""

LOSS_RANGE = 2312
"""The loss of the network of zeros, over the loss below which lower is no better."""


class Step(NamedTuple):
    """What a method gives as it goes: the population it would end with, and what that has cost.

    `info.loss` and `density` belong to the individuals of `params`. The phase `evolved` stands
    for a moment, the end of the evolution, at no further cost. With several seeds at once, all but
    the phase has their axis S. `saved` has the trees and facts from which the method
    goes on behind this step, where it can.
    """

    info: gajax.Info
    params: Params  # [P, ...]
    density: Float[np.ndarray, " P"]
    phase: str = "evolution"
    saved: tuple[Any, dict[str, Any]] | None = None

    def of_seed(self, seed: int | None) -> "Step":
        """The step of the seed at that place (None: no axis), `params` where a generation ended."""
        if seed is None:
            return self
        info = steps.take_seed(self.info, seed)
        params = gajax.take(self.params, seed) if info.done else None
        return Step(info, params, self.density[seed], self.phase)


class Front(NamedTuple):
    """Density and losses on whole sets of networks, sparsest first; accuracy of classifiers."""

    density: Float[np.ndarray, " K"]
    train_loss: Float[np.ndarray, " K"]
    test_loss: Float[np.ndarray, " K"]
    test_accuracy: Float[np.ndarray, " K"] | None

    def cut(self, stop: int, start: int = 0) -> "Front":
        """The networks from `start` to `stop`."""
        losses = self.train_loss[start:stop], self.test_loss[start:stop]
        accuracy = None if self.test_accuracy is None else self.test_accuracy[start:stop]
        return Front(self.density[start:stop], *losses, accuracy)


def zero_loss(network: Network, data: gajax.Data) -> float:
    """Mean loss of the network of zeros over all examples."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), shapes)
    return float(losses(network, zeros, data)[0])


def losses(network: Network, population: Params, data: gajax.Data) -> Float[np.ndarray, " P"]:
    """Mean loss of every individual over all examples."""
    return gajax.sharding.gather(_losses(network.loss_fn, population, data))


def accuracies(network: Network, population: Params, data: gajax.Data) -> Float[np.ndarray, " P"]:
    """Share of the examples that each classifier gets right."""
    assert network.logits is not None
    return gajax.sharding.gather(_losses(partial(_right, network.logits), population, data))


def log_hypervolume(density: Any, loss: Any, zero_loss: float) -> float:
    """Area under a front with both axes logarithmic and scaled to [0, 1]; more is better.

    The axes are ln(1 / density) up to `LOWEST_DENSITY` and ln(zero_loss / loss) up to
    `LOSS_RANGE`. Points that are not better than the network of zeros add nothing.
    """
    density, loss = (np.asarray(values, np.float64) for values in (density, loss))
    sparsity = -np.log(np.maximum(density, LOWEST_DENSITY)) / -math.log(LOWEST_DENSITY)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.log(zero_loss / np.maximum(loss, zero_loss / LOSS_RANGE)) / math.log(LOSS_RANGE)
    points = np.stack([1 - sparsity, 1 - gain], axis=1)
    return float(gajax.pareto.hypervolume(jnp.asarray(points, jnp.float32), (1.0, 1.0)))


def nondominated(density: Any, loss: Any) -> np.ndarray:
    """Indices of the points of the front, sparsest first, one of each kind."""
    order = np.lexsort((loss, density))
    front, best = [], math.inf
    for index in order:
        if loss[index] < best:
            best = loss[index]
            front.append(index)
    return np.array(front, int)


@partial(jax.jit, static_argnames="loss_fn")
def _losses(loss_fn, population, data):
    return gajax.evaluation.losses(loss_fn, population, data)


def _right(logits, params, batch):
    return jnp.mean(jnp.argmax(logits(params, batch["images"]), axis=-1) == batch["labels"])
