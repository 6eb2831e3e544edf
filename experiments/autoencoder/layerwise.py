"""Layer-wise training of an autoencoder by any algorithm, followed by training of all layers."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

import gajax
from experiments.autoencoder.model import TiedAutoencoder, block_params, unit_interval
from experiments.running import seed_axis, steps
from experiments.running.checkpoints import Checkpoint
from experiments.running.precision import with_precision
from gajax.types import cached

ENCODE_BATCH = 1_000
Target = Literal["image", "layer"]


class Phase(NamedTuple):
    """A phase of training, in which blocks before `start` are frozen and those up to `stop` learn.

    A generation has so many gradient `steps`. `work` is the number of weights that process an
    example, for estimates of time.
    """

    name: str
    start: int
    stop: int
    generations: int
    steps: int
    work: int


class Step(NamedTuple):
    """A step of a training: its phase, the frozen blocks, state and info.

    For several seeds, all fields but the phase have an axis S.
    """

    phase: Phase
    frozen: dict
    state: Any
    info: gajax.Info

    def of_seed(self, seed: int | None) -> "Step":
        """The step of the seed at this index, None without an axis S.

        The state is included only at the end of a generation.
        """
        if seed is None:
            return self
        info = steps.take_seed(self.info, seed)
        state = gajax.take(self.state, seed) if info.done else None
        return Step(self.phase, gajax.take(self.frozen, seed), state, info)

    def saved(self) -> tuple[Any, dict[str, Any]]:
        """The trees and facts from which `train` resumes after this step."""
        return (self.frozen, self.state), {"phase": self.phase.name, **steps.facts(self.info)}

    def best_index(self) -> int:
        """The index of the individual with the lowest loss; 0 if all losses are NaN."""
        return int(np.argmin(np.nan_to_num(self.info.loss, nan=np.inf)))

    def best(self) -> dict:
        """Parameters of all blocks so far, the trained ones from the best individual."""
        best = gajax.sharding.gather(gajax.take(self.state.params, self.best_index()))
        return self.frozen | jax.tree.map(jnp.asarray, best)


def layer_phases(
    layers: tuple[int, ...], generations: tuple[int, ...], steps: int, target: Target
) -> list[Phase]:
    """One phase per layer."""
    weights = _weights(layers)
    return [
        Phase(
            name=f"{layers[index]}-{layers[index + 1]}",
            start=index,
            stop=index + 1,
            generations=generations[index],
            steps=steps,
            work=weights[index] + sum(weights[0 if target == "image" else index : index + 1]),
        )
        for index in range(len(weights))
    ]


def whole_phase(layers: tuple[int, ...], generations: int, steps: int) -> Phase:
    """The phase that trains all layers together."""
    weights = _weights(layers)
    return Phase("all layers", 0, len(weights), generations, steps, 2 * sum(weights))


def _weights(layers: tuple[int, ...]) -> list[int]:
    return [inputs * outputs for inputs, outputs in zip(layers, layers[1:], strict=False)]


@cached  # so that runs with equal settings share their programs
def reconstruction_loss(
    model: TiedAutoencoder, phase: Phase, target: Target, precision: str = "float32"
) -> Callable:
    """The mean squared error of the reconstruction from the last block of the phase.

    The target `image` decodes through the frozen outer blocks to pixels in [0, 1]; `layer` only to
    the input of the first block of the phase. The network computes in the precision; parameters,
    gradients and the error are float32.
    """
    first = 0 if target == "image" else phase.start

    def restore(variables: dict, values: Array) -> Any:
        code = model.apply(variables, values, phase.start, phase.stop, method="encode")
        return model.apply(variables, code, first, phase.stop, method="decode")

    restore = with_precision(precision, restore)

    def loss_fn(params: dict, batch: dict, frozen: dict) -> Float[Array, ""]:
        inputs = unit_interval(batch["inputs"])
        output = restore({"params": {**frozen, **params}}, inputs)
        expected = unit_interval(batch["images"]) if "images" in batch else inputs
        return jnp.mean((output - expected) ** 2)

    return loss_fn


def best_params(key: Key[Array, "*S"], step: Step) -> dict:
    """The best parameters of each seed."""
    params = [step.of_seed(seed).best() for seed in seed_axis.indices(key)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params) if key.ndim else params[0]


@partial(jax.jit, static_argnames=("model", "start", "stop"))
def encode(
    model: TiedAutoencoder,
    params: dict,
    values: Float[Array, "N I"] | UInt8[Array, "N I"],
    start: int = 0,
    stop: int | None = None,
) -> Float[Array, "N O"]:
    """Encode all examples, in batches, from block `start` to the block before `stop`."""

    def one(value):
        value = unit_interval(value)
        return model.apply({"params": params}, value, start, stop, method="encode")

    return jax.lax.map(one, values, batch_size=ENCODE_BATCH)


@partial(jax.jit, static_argnames=("model", "size"))
def draw(key: Key[Array, ""], model: TiedAutoencoder, size: int) -> dict:
    """Draw a population of `size` networks."""
    image = jnp.zeros(model.layers[0], jnp.float32)

    def init(key: Key[Array, ""]) -> Any:
        return model.init(key, image)["params"]

    if size == 1:  # which no mesh of several devices can share
        return jax.tree.map(lambda leaf: leaf[None], init(jax.random.split(key, 1)[0]))
    return gajax.init(key, init, size)


@partial(jax.jit, static_argnames="model")
def reconstruct(
    model: TiedAutoencoder, params: dict, images: UInt8[Array, "N I"]
) -> Float[Array, "N I"]:
    """Reconstruct the images, as floats where the images are in [0, 1]."""

    def one(image):
        code = model.apply({"params": params}, unit_interval(image), method="encode")
        return model.apply({"params": params}, code, method="decode")

    return jax.lax.map(one, images, batch_size=ENCODE_BATCH)


def rmse(model: TiedAutoencoder, params: dict, images: UInt8[Array, "N I"]) -> float:
    """Root mean squared error over all pixels of all images, in [0, 1]."""
    total = 0.0
    for start in range(0, len(images), 10 * ENCODE_BATCH):
        part = jnp.asarray(images[start : start + 10 * ENCODE_BATCH])
        error = reconstruct(model, params, part) - unit_interval(part)
        total += float(jnp.sum(error**2))
    return math.sqrt(total / images.size)


def train(
    key: Key[Array, "*S"],
    model: TiedAutoencoder,
    images: UInt8[Array, "N I"],
    phases: list[Phase],
    make_algorithm: Callable[[Callable, Phase], gajax.Algorithm],
    *,
    population_size: int,
    ancestors: int,
    target: Target = "image",
    precision: str = "float32",
    resumed: Checkpoint | None = None,
    watch: steps.Watch | None = None,
) -> Iterator[Step]:
    """Train in phases and yield every step; the last one holds the result.

    Each layer starts from `ancestors` new networks, or from a population of copies if there is only
    one; after its phase, its best individual is frozen and encodes the inputs of the next layer.
    The phase of all layers starts from the frozen layers and the population of the last layer.
    `make_algorithm(loss_fn, phase)` makes the algorithm of a phase. Epoch e of phase p has the same
    order of examples for every method. Several keys train several seeds. With a checkpoint, the
    first step is the saved one.
    """

    def copies_of(params: dict) -> dict:
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (population_size, *leaf.shape)), params
        )

    each = partial(seed_axis.map_seeds, key)
    key_init, key_order, key_run = seed_axis.split(key, 3)
    population = each(lambda key: draw(key, model, ancestors), key_init)
    if ancestors == 1:
        population = each(lambda params: copies_of(gajax.take(params, 0)), population)
    images = seed_axis.broadcast(key, images)
    frozen: dict = {}
    encoded = images

    def encode_by(phase: Phase) -> Any:
        blocks = block_params(frozen, 0, phase.stop)
        return each(partial(encode, model, start=phase.start, stop=phase.stop), blocks, encoded)

    names = [phase.name for phase in phases]
    first = names.index(resumed.facts["phase"]) if resumed else 0
    if resumed:
        blocks = block_params(population, 0, phases[first].start)
        frozen = resumed.take(
            jax.eval_shape(partial(each, lambda tree: gajax.take(tree, 0)), blocks)
        )
        for phase in phases[:first] if frozen else ():
            encoded = encode_by(phase)
        population |= each(copies_of, frozen)
    for number, phase in enumerate(phases[first:], first):
        examples = {"inputs": images if phase.start == 0 else encoded}
        if phase.start > 0 and target == "image":
            examples["images"] = images
        frozen = block_params(frozen, 0, phase.start)
        data = gajax.Data(examples, seed_axis.fold_in(key_order, number), (frozen,))
        loss_fn = reconstruction_loss(model, phase, target, precision)
        algorithm = make_algorithm(loss_fn, phase)
        learning = block_params(population, phase.start, phase.stop)
        setting = algorithm, seed_axis.fold_in(key_run, number), learning, data
        walk = steps.evolve(
            setting,
            generations=phase.generations,
            resumed=resumed if number == first else None,
            watch=watch,
        )
        step = None
        for state, info in walk:
            step = Step(phase, frozen, state, info)
            yield step
        assert step is not None, "a phase has at least one step"
        population |= step.state.params
        if phase.stop < len(model.layers) - 1:
            frozen = best_params(key, step)
            encoded = encode_by(phase)
            population |= each(copies_of, frozen)
