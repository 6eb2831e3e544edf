"""Every way of training the autoencoder that a comparison can name, baselines included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jaxtyping import Array, Key

import gajax
from experiments import layerwise
from experiments.layerwise import Phase
from gajax.models import TiedAutoencoder

if TYPE_CHECKING:
    from experiments.mnist_ga import Config

Observe = Callable[[layerwise.Progress], None]
"""Called after every step of a training."""

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def _muon(rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """Muon for kernels; biases get Adam at a twentieth of the rate, for its steps are larger."""
    schedule = rate if callable(rate) else optax.constant_schedule(rate)
    return optax.contrib.muon(rate, adam_learning_rate=lambda count: schedule(count) / 20)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "muon": _muon,
    "adam": optax.adam,
    "adadelta": optax.adadelta,
    "sgd": partial(optax.sgd, momentum=0.9),
}


class Trained(NamedTuple):
    """An autoencoder and its parameters."""

    model: TiedAutoencoder
    params: dict


def autoencoder(config: Config) -> TiedAutoencoder:
    """The network of a config, untrained."""
    if config.method == "pca":
        ends = (config.layers[0], config.layers[-1])
        return TiedAutoencoder(ends, activation=_identity, biases=True)
    return TiedAutoencoder(config.layers, ACTIVATIONS[config.activation], config.biases)


def schedule(config: Config, examples: int) -> list[Phase]:
    """The phases of a config's method; none where it does not descend.

    All methods get the same sequential steps: what the genetic algorithm spends on all layers,
    `layerwise` spends on the single ones, `sgd` has all steps for all layers, and for the steps
    that the genetic algorithm waits for its scoring, they train on in whole generations.
    """
    phases = layerwise.layer_phases(config.layers, config.generations, config.target)
    whole = layerwise.whole_phase(config.layers, config.whole_generations)
    if config.whole_generations:
        phases.append(whole)
    if config.method == "ga":
        return phases
    if config.method == "pca":
        return []
    scorings = sum(phase.generations + 1 for phase in phases)
    extra = -(-scorings // (config.finetune_epochs * (examples // config.batch_size)))
    if config.method == "sgd":
        total = sum(phase.generations for phase in phases)
        return [whole._replace(generations=total + extra)]
    if config.method == "layerwise":
        layers = len(config.layers) - 1
        shares = np.diff(np.arange(layers + 1) * (config.whole_generations + extra) // layers)
        return [
            phase._replace(generations=phase.generations + int(share))
            for phase, share in zip(phases, shares, strict=False)
        ]
    return [*phases[:-1], phases[-1]._replace(generations=phases[-1].generations + extra)]


def evolution(key: Key[Array, ""], config: Config, images: np.ndarray, observe: Observe) -> Trained:
    """The genetic algorithm, layer by layer and then on all layers (arXiv 1711.07655)."""
    crossover = {
        "uniform": partial(gajax.crossover.uniform, rate=config.crossover_rate),
        "one_point": gajax.crossover.one_point,
    }[config.crossover]
    mutation = {
        "zero": partial(gajax.mutation.zero, rate=config.mutation_rate),
        "gaussian": partial(
            gajax.mutation.gaussian, rate=config.mutation_rate, scale=config.mutation_scale
        ),
    }[config.mutation]

    def make_algorithm(loss_fn: Callable, phase: Phase) -> gajax.Algorithm:
        return gajax.ga(
            loss_fn,
            optimizer=_optimizer(config, phase, len(images)),
            survivors=config.population_size // 2,
            batch_size=config.batch_size,
            epochs=config.finetune_epochs,
            crossover=crossover,
            mutation=mutation,
            selection=getattr(gajax.selection, config.selection),
            fresh_optimizer=config.fresh_optimizer,
            score_examples=config.score_examples,
            chunk_size=config.chunk_size,
        )

    return _descend(key, config, images, observe, make_algorithm, config.population_size)


def descent(key: Key[Array, ""], config: Config, images: np.ndarray, observe: Observe) -> Trained:
    """Gradient descent of one network, over the phases of its method."""

    def make_algorithm(loss_fn: Callable, phase: Phase) -> gajax.Algorithm:
        return gajax.gradient(
            loss_fn,
            optimizer=_optimizer(config, phase, len(images)),
            batch_size=config.batch_size,
            epochs=config.finetune_epochs,
            chunk_size=config.chunk_size,
        )

    return _descend(key, config, images, observe, make_algorithm, 1)


def pca(key: Key[Array, ""], config: Config, images: np.ndarray, observe: Observe) -> Trained:
    """Principal components, written as a linear tied autoencoder of one layer with biases."""
    from sklearn.decomposition import PCA

    del observe
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    fitted = PCA(config.layers[-1], random_state=seed).fit(images / np.float32(255))
    kernel = np.asarray(fitted.components_, np.float32).T
    mean = np.asarray(fitted.mean_, np.float32)
    block = {"kernel": kernel, "hidden_bias": -mean @ kernel, "visible_bias": mean}
    return Trained(autoencoder(config), jax.tree.map(jnp.asarray, {"blocks_0": block}))


METHODS: dict[str, Callable[[Key[Array, ""], Config, np.ndarray, Observe], Trained]] = {
    "ga": evolution,
    "layerwise": descent,
    "pretrained": descent,
    "sgd": descent,
    "pca": pca,
}
"""Name to `method(key, config, images uint8 [N, I], observe) -> Trained`."""


def _descend(key, config, images, observe, make_algorithm, population_size) -> Trained:
    model = autoencoder(config)
    steps = layerwise.train(
        key,
        model,
        jnp.asarray(images),
        schedule(config, len(images)),
        make_algorithm,
        population_size=population_size,
        target=config.target,
        precision=config.precision,
    )
    progress = None
    for progress in steps:
        observe(progress)
    assert progress is not None, "there is always a phase"
    return Trained(model, progress.best())


def _optimizer(config: Config, phase: Phase, examples: int) -> optax.GradientTransformation:
    rate = config.learning_rate
    if config.schedule == "cosine":
        batches = config.finetune_epochs * (examples // config.batch_size)
        steps = phase.generations * batches
        rate = optax.warmup_cosine_decay_schedule(rate / 10, rate, min(100, steps // 10), steps)
    return OPTIMIZERS[config.optimizer](rate)


def _identity(values: Array) -> Array:
    return values
