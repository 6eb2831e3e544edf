"""Methods of training the autoencoder, baselines included."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jaxtyping import Array, Key

import gajax
from experiments.autoencoder import layerwise
from experiments.autoencoder.config import Config
from experiments.autoencoder.layerwise import Phase
from experiments.autoencoder.model import TiedAutoencoder, block_params
from experiments.running import memory, steps
from experiments.running.checkpoints import Checkpoint

Observe = Callable[[layerwise.Step], None]
"""Called after every step of a training."""

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def _muon(rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """Muon for kernels, and Adam at a twentieth of the rate for biases, as its steps are larger."""
    schedule = rate if callable(rate) else optax.constant_schedule(rate)
    return optax.contrib.muon(rate, adam_learning_rate=lambda count: schedule(count) / 20)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "muon": _muon,
    "adam": optax.adam,
    "adadelta": optax.adadelta,
    "sgd": partial(optax.sgd, momentum=0.9),
}


MakeAlgorithm = Callable[[Callable, Phase], gajax.Algorithm]
"""`make(loss_fn, phase)`: the algorithm of a phase."""


class Trained(NamedTuple):
    """An autoencoder and its parameters, with an axis S for several seeds."""

    model: TiedAutoencoder
    params: dict


def autoencoder(config: Config) -> TiedAutoencoder:
    """The autoencoder of a config."""
    if config.method == "pca":
        ends = (config.layers[0], config.layers[-1])
        return TiedAutoencoder(ends, activation=_identity, biases=True)
    return TiedAutoencoder(config.layers, ACTIVATIONS[config.activation], config.biases)


def schedule(config: Config, examples: int) -> list[Phase]:
    """The phases of a config's method; none for `pca`.

    Gradient descent gets the sequential steps or the cost of the genetic algorithm, with scoring
    converted to gradient steps, rounded up to whole generations. `layerwise` spends on single
    layers what the genetic algorithm spends on all layers, and `sgd` spends everything on all
    layers.
    """
    steps = config.steps(examples)
    phases = layerwise.layer_phases(
        config.layers, config.generations, config.layer_steps or steps, config.target
    )
    whole = layerwise.whole_phase(config.layers, config.whole_generations, steps)
    if config.whole_generations:
        phases.append(whole)
    if config.is_evolving:
        return phases
    if config.method == "pca":
        return []
    scorings = sum(phase.generations + 1 for phase in phases)
    if config.equal == "steps":
        times, extra = 1, scorings
    else:
        times = config.population_size // 2
        scored = scorings * config.population_size * (config.score_examples or examples)
        extra = -(-scored // (3 * config.batch_size))

    def longer(phase: Phase, more: int) -> Phase:
        steps = times * phase.generations * phase.steps + more
        return phase._replace(generations=-(-steps // phase.steps))

    if config.method == "sgd":
        steps = sum(phase.generations * phase.steps for phase in phases)
        return [longer(whole._replace(generations=0), times * steps + extra)]
    if config.method == "layerwise":
        layers = len(config.layers) - 1
        shared = times * config.whole_generations * whole.steps + extra
        shares = np.diff(np.arange(layers + 1) * shared // layers)
        return [longer(*pair) for pair in zip(phases, shares.tolist(), strict=False)]
    return [*(longer(phase, 0) for phase in phases[:-1]), longer(phases[-1], extra)]


def ga(config: Config) -> MakeAlgorithm:
    """The genetic algorithm (arXiv 1711.07655)."""
    assert config.mutation_rate is not None
    survivors = config.population_size // 2
    relatives: dict[str, Any] = {}
    if config.is_of_relatives:
        relatives = {"parents": survivors, "own_orders": True, "cross_optimizer": True}
    uniform = partial(gajax.crossover.uniform, rate=config.crossover_rate)
    crossover: Callable[..., Any] = {
        "mean": gajax.crossover.mean,
        "uniform": uniform,
        "one_point": gajax.crossover.one_point,
    }[config.crossover]
    if config.method != "ga":
        crossover = _copies if config.is_of_relatives else uniform
    mutation = {
        "zero": partial(gajax.mutation.zero, rate=config.mutation_rate),
        "gaussian": partial(
            gajax.mutation.gaussian, rate=config.mutation_rate, scale=config.mutation_scale
        ),
    }[config.mutation]

    def make_algorithm(loss_fn: Callable, phase: Phase) -> gajax.Algorithm:
        return gajax.ga(
            loss_fn,
            optimizer=_optimizer(config, phase),
            survivors=survivors,
            batch_size=config.batch_size,
            batches=phase.steps,
            crossover=crossover,
            mutation=mutation,
            selection=getattr(gajax.selection, config.selection),
            fresh_optimizer=config.fresh_optimizer,
            score_examples=config.score_examples,
            chunk_size=config.chunk_size,
            **relatives,
        )

    return make_algorithm


def descent(config: Config) -> MakeAlgorithm:
    """Gradient descent of one network."""

    def make_algorithm(loss_fn: Callable, phase: Phase) -> gajax.Algorithm:
        return gajax.descent(
            loss_fn,
            optimizer=_optimizer(config, phase),
            batch_size=config.batch_size,
            batches=phase.steps,
            chunk_size=config.chunk_size,
        )

    return make_algorithm


ALGORITHMS: dict[str, Callable[..., MakeAlgorithm]] = {
    "ga": ga,
    "ga-no-means": ga,
    "ga-strangers": ga,
    "layerwise": descent,
    "pretrained": descent,
    "sgd": descent,
}
"""Maps methods with phases to functions `make(config)`."""


def network_count(config: Config) -> int:
    """Number of networks that the method trains together."""
    return config.population_size if config.is_evolving else 1


def memory_needed(config: Config, images: int) -> int:
    """Estimate the peak bytes of the training, over all phases."""
    model = autoencoder(config)
    key = jax.eval_shape(lambda: jax.random.key(0))
    network = jax.eval_shape(lambda: layerwise.draw(jax.random.key(0), model, 1))
    network = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), network)
    make_algorithm = ALGORITHMS[config.method](config)

    def of_phase(phase: Phase) -> int:
        examples = {"images": jax.ShapeDtypeStruct((images, config.layers[0]), jnp.uint8)}
        if phase.start > 0:
            width = config.layers[phase.start]
            examples["inputs"] = jax.ShapeDtypeStruct((images, width), jnp.float32)
        loss_fn = layerwise.reconstruction_loss(model, phase, config.target)
        return memory.needed(
            make_algorithm(loss_fn, phase),
            block_params(network, phase.start, phase.stop),
            network_count(config),
            gajax.Data(examples, key, ({},)),
        )

    return max(of_phase(phase) for phase in schedule(config, images))


def train_phases(
    key: Key[Array, "*S"],
    config: Config,
    images: np.ndarray,
    observe: Observe,
    resumed: Checkpoint | None = None,
    watch: steps.Watch | None = None,
) -> Trained:
    """Train in the phases of the method, for each seed."""
    model = autoencoder(config)
    walk = layerwise.train(
        key,
        model,
        jnp.asarray(images),
        schedule(config, len(images)),
        ALGORITHMS[config.method](config),
        population_size=network_count(config),
        ancestors=1 if config.is_of_relatives else network_count(config),
        target=config.target,
        precision=config.precision,
        resumed=resumed,
        watch=watch,
    )
    step = next(walk) if resumed else None
    for step in walk:
        observe(step)
    assert step is not None, "there is at least one phase"
    return Trained(model, layerwise.best_params(key, step))


def pca(
    key: Key[Array, ""],
    config: Config,
    images: np.ndarray,
    observe: Observe,
    resumed: Checkpoint | None = None,
    watch: steps.Watch | None = None,
) -> Trained:
    """Principal component analysis, as a linear tied autoencoder of one layer with biases."""
    from sklearn.decomposition import PCA

    del observe, resumed, watch
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    fitted = PCA(config.layers[-1], random_state=seed).fit(images / np.float32(255))
    kernel = np.asarray(fitted.components_, np.float32).T
    mean = np.asarray(fitted.mean_, np.float32)
    block = {"kernel": kernel, "hidden_bias": -mean @ kernel, "visible_bias": mean}
    return Trained(autoencoder(config), jax.tree.map(jnp.asarray, {"blocks_0": block}))


METHODS: dict[str, Callable[..., Trained]] = {
    **dict.fromkeys(ALGORITHMS, train_phases),
    "pca": pca,
}
"""Maps names to `method(key, config, images uint8 [N, I], observe, resumed) -> Trained`."""


def _optimizer(config: Config, phase: Phase) -> optax.GradientTransformation:
    total = phase.generations * phase.steps if config.schedule == "cosine" else None
    return _scheduled(config.optimizer, config.rate, total)


@cache  # so that equal algorithms are the same
def _scheduled(optimizer: str, peak: float, total: int | None) -> optax.GradientTransformation:
    """The optimiser, whose rate rises and falls within so many steps unless it is constant."""
    rate: Any = peak
    if total is not None:
        rate = optax.warmup_cosine_decay_schedule(peak / 10, peak, min(100, total // 10), total)
    return OPTIMIZERS[optimizer](rate)


def _copies(key: Key[Array, ""], *parents: Any) -> tuple[Any, ...]:
    del key
    return parents


def _identity(values: Array) -> Array:
    return values
