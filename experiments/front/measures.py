"""Fronts of density against loss, and their quality measures."""

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
"""Density below which sparser networks do not improve the hypervolume."""

LOSS_RANGE = 2312
"""Loss of the all-zero network over the loss below which the hypervolume does not improve."""


class Step(NamedTuple):
    """A step of a method: its info, and the population that it would return now.

    `info.loss` and `density` are those of `params`. The phase `evolved` marks the end of the
    evolution and has no costs. For several seeds, all fields but the phase have an axis S. `saved`
    holds the trees and facts to resume from, if the method can.
    """

    info: gajax.Info
    params: Params  # [P, ...]
    density: Float[np.ndarray, " P"]
    phase: str = "evolution"
    saved: tuple[Any, dict[str, Any]] | None = None

    def of_seed(self, seed: int | None) -> "Step":
        """The step of the seed at this index, with `params` only at the end of a generation."""
        if seed is None:
            return self
        info = steps.take_seed(self.info, seed)
        params = gajax.take(self.params, seed) if info.done else None
        return Step(info, params, self.density[seed], self.phase)


class Front(NamedTuple):
    """Density, losses on whole sets and test accuracy of classifiers, sparsest network first."""

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
    """Mean loss of the all-zero network over all examples."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), shapes)
    return float(losses(network, zeros, data)[0])


def losses(network: Network, population: Params, data: gajax.Data) -> Float[np.ndarray, " P"]:
    """Mean loss of every individual over all examples."""
    return gajax.sharding.gather(_losses(network.loss_fn, population, data))


def accuracies(network: Network, population: Params, data: gajax.Data) -> Float[np.ndarray, " P"]:
    """Accuracy of each classifier."""
    assert network.logits is not None
    return gajax.sharding.gather(_losses(partial(_accuracy, network.logits), population, data))


def class_accuracies(
    network: Network, params: Params, images: np.ndarray, labels: np.ndarray
) -> list[float]:
    """Accuracy of a classifier on the images uint8 [N, I] of each class."""
    assert network.logits is not None
    predicted = _predicted(network.logits, params, images)
    return [float(np.mean(predicted[labels == label] == label)) for label in np.unique(labels)]


def log_hypervolume(density: Any, loss: Any, zero_loss: float) -> float:
    """Area under a front with logarithmic axes scaled to [0, 1]; higher is better.

    The axes are ln(1 / density) up to `LOWEST_DENSITY` and ln(zero_loss / loss) up to
    `LOSS_RANGE`. Points no better than the all-zero network contribute nothing.
    """
    density, loss = (np.asarray(values, np.float64) for values in (density, loss))
    sparsity = -np.log(np.maximum(density, LOWEST_DENSITY)) / -math.log(LOWEST_DENSITY)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.log(zero_loss / np.maximum(loss, zero_loss / LOSS_RANGE)) / math.log(LOSS_RANGE)
    points = np.stack([1 - sparsity, 1 - gain], axis=1)
    return float(_hypervolume(points.astype(np.float32), np.ones(2, np.float32)))


def knee(density: Any, loss: Any) -> int:
    """Index of the point of the front where it bends most."""
    return int(_knee(np.stack([density, loss], axis=1).astype(np.float32)))


def densities(population: Params) -> Float[np.ndarray, " P"]:
    """Density of every individual."""
    return gajax.sharding.gather(_densities(population))


# Compiled once for each shape: their operations one by one take longer.
_densities = jax.jit(gajax.density)
_hypervolume = jax.jit(gajax.pareto.hypervolume)
_knee = jax.jit(gajax.pareto.knee)


@partial(jax.jit, static_argnames="loss_fn")
def _losses(loss_fn, population, data):
    return gajax.evaluation.losses(loss_fn, population, data)


@partial(jax.jit, static_argnames="logits")
def _predict(logits, params, images):
    return jnp.argmax(logits(params, images), axis=-1)


def _predicted(logits: Any, params: Params, images: np.ndarray) -> np.ndarray:
    parts = [images[start : start + 1_000] for start in range(0, len(images), 1_000)]
    return np.concatenate([np.asarray(_predict(logits, params, part)) for part in parts])


def _accuracy(logits, params, batch):
    return jnp.mean(jnp.argmax(logits(params, batch["images"]), axis=-1) == batch["labels"])
