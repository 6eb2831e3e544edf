"""Layer after layer, then the whole: who learns what from what, and who stays frozen."""

from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax
from experiments.autoencoder import layerwise
from experiments.autoencoder.model import TiedAutoencoder

LAYERS, SIZE = (16, 8, 4), 4
MODEL = TiedAutoencoder(LAYERS)
IMAGES = jax.random.bits(jax.random.key(0), (64, 16), jnp.uint8)
PIXELS = np.asarray(IMAGES) / 255


def phases(target, *generations):
    layers = layerwise.layer_phases(LAYERS, generations[:-1], 1, target)
    return [*layers, layerwise.whole_phase(LAYERS, generations[-1], 1)]


def kernel(params, block):
    return np.asarray(params[f"blocks_{block}"]["kernel"])


def last_steps(steps):
    """The last step of each phase, in the order of the phases."""
    return [list(group)[-1] for _, group in groupby(steps, key=lambda step: step.phase.name)]


class Seen(NamedTuple):
    """The state of an algorithm that only keeps what it was given."""

    params: Any
    examples: Any
    frozen: dict
    loss: Any
    failed: Any


def watcher(loss_fn, phase):
    """An algorithm of one step, which reports the losses of its population and changes nothing."""

    def init(key, population, data):
        return Seen(population, data.examples, *data.shared, jnp.zeros(SIZE), jnp.int32(0))

    def measure(key, state, data, generation, start, stop):
        loss = jax.vmap(loss_fn, (0, None, None))(state.params, data.examples, *data.shared)
        return state._replace(loss=loss)

    plan = (gajax.Stage(measure),)
    return gajax.Algorithm(init, lambda *sizes: lambda generation: plan if generation else ())


def train(target, make_algorithm, *generations):
    """Every step of a training; what it holds is copied, for the next step takes its memory."""
    steps = layerwise.train(
        jax.random.key(1),
        MODEL,
        IMAGES,
        phases(target, *generations),
        make_algorithm,
        population_size=SIZE,
        ancestors=SIZE,
        target=target,
    )
    return [step._replace(state=jax.tree.map(jnp.copy, step.state)) for step in steps]


@pytest.fixture(scope="module")
def watched():
    return {target: train(target, watcher, 1, 1, 1) for target in ("image", "layer")}


@pytest.fixture(scope="module")
def trained():
    """A training by the genetic algorithm, but for the outer layer."""

    def make_algorithm(loss_fn, phase):
        if phase.stop == 1:
            return watcher(loss_fn, phase)
        return gajax.ga(loss_fn, optimizer=optax.sgd(0.1), survivors=2, batch_size=16)

    return train("image", make_algorithm, 1, 2, 3)


@pytest.mark.parametrize("target", ["image", "layer"])
def test_a_chromosome_holds_the_layer_in_training_alone(watched, target):
    first, second, whole = watched[target]
    assert [step.phase.name for step in watched[target]] == ["16-8", "8-4", "all layers"]
    assert list(first.state.params) == ["blocks_0"] and first.frozen == {}
    assert list(second.state.params) == ["blocks_1"] and list(second.frozen) == ["blocks_0"]
    assert list(whole.state.params) == ["blocks_0", "blocks_1"] and whole.frozen == {}
    for step in watched[target]:
        jax.tree.map(np.testing.assert_array_equal, step.state.frozen, step.frozen)


@pytest.mark.parametrize("target", ["image", "layer"])
def test_the_best_of_a_layer_is_frozen_and_feeds_the_next(watched, target):
    first, second, _ = watched[target]
    best = int(np.argmin(first.info.loss))
    assert len(set(np.asarray(first.info.loss).tolist())) == SIZE
    np.testing.assert_array_equal(kernel(second.frozen, 0), kernel(first.state.params, 0)[best])
    np.testing.assert_array_equal(kernel(first.best(), 0), kernel(second.frozen, 0))
    np.testing.assert_array_equal(first.state.examples["inputs"], IMAGES)
    encoded = np.tanh(PIXELS @ kernel(second.frozen, 0))
    np.testing.assert_allclose(second.state.examples["inputs"], encoded, rtol=1e-4, atol=1e-6)
    if target == "image":
        np.testing.assert_array_equal(second.state.examples["images"], IMAGES)


@pytest.mark.parametrize("target", ["image", "layer"])
def test_the_whole_starts_from_the_frozen_layers_and_the_last_population(watched, target):
    _, second, whole = watched[target]
    for individual in kernel(whole.state.params, 0):
        np.testing.assert_array_equal(individual, kernel(second.frozen, 0))
    np.testing.assert_array_equal(kernel(whole.state.params, 1), kernel(second.state.params, 1))
    np.testing.assert_array_equal(whole.state.examples["inputs"], IMAGES)


def test_individuals_start_different(watched):
    for step in watched["image"][:2]:
        (kernels,) = jax.tree.leaves(step.state.params)
        assert len({np.asarray(individual).tobytes() for individual in kernels}) == SIZE


def image_losses(outer, inner):
    """In NumPy: the mean squared error of the pixels of the whole network."""
    hidden = np.tanh(np.tanh(PIXELS @ outer) @ inner)
    return np.mean((np.tanh(hidden @ inner.T) @ outer.T - PIXELS) ** 2)


def test_the_target_image_goes_back_to_the_pixels(watched):
    _, second, whole = watched["image"]
    inner = kernel(second.state.params, 1)
    expected = [image_losses(kernel(second.frozen, 0), individual) for individual in inner]
    np.testing.assert_allclose(second.info.loss, expected, rtol=1e-5)
    np.testing.assert_allclose(whole.info.loss, expected, rtol=1e-5)


def test_the_target_layer_goes_back_to_the_activations_before(watched):
    _, second, _ = watched["layer"]
    before = np.tanh(PIXELS @ kernel(second.frozen, 0))
    for loss, inner in zip(second.info.loss, kernel(second.state.params, 1), strict=True):
        back = np.tanh(np.tanh(before @ inner) @ inner.T)
        np.testing.assert_allclose(loss, np.mean((back - before) ** 2), rtol=1e-5)
    assert list(second.state.examples) == ["inputs"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_pixels_are_scaled_once(watched, number):
    step = watched["image"][number]
    loss_fn = layerwise.reconstruction_loss(MODEL, step.phase, "image")
    raw = step.state.examples
    scaled = {name: jnp.asarray(np.float32(leaf) / 255) for name, leaf in raw.items()}
    if number == 1:
        scaled["inputs"] = raw["inputs"]
    params = gajax.take(step.state.params, 0)
    losses = [loss_fn(params, examples, step.frozen) for examples in (raw, scaled)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_evolution_goes_through_the_phases_in_order(trained):
    names = [name for name, _ in groupby(step.phase.name for step in trained)]
    assert names == ["16-8", "8-4", "all layers"]
    for name, done in [("8-4", [0, 1, 2]), ("all layers", [0, 1, 2, 3])]:
        infos = [step.info for step in trained if step.phase.name == name]
        assert [int(info.generation) for info in infos if info.done] == done


def test_layers_stay_frozen_until_the_whole_learns(trained):
    first, second, whole = last_steps(trained)
    outer = kernel(first.best(), 0)
    inner = [step for step in trained if step.phase.name == "8-4"]
    for step in inner:
        np.testing.assert_array_equal(kernel(step.frozen, 0), outer)
    assert (kernel(inner[0].state.params, 1)[0] != kernel(second.state.params, 1)[0]).all()
    assert (kernel(whole.state.params, 0)[0] != outer).all()


def test_offspring_are_scored_through_the_frozen_layers(trained):
    _, second, whole = last_steps(trained)
    outer = [kernel(second.frozen, 0)] * SIZE
    for step, outers in [(second, outer), (whole, kernel(whole.state.params, 0))]:
        pairs = zip(outers, kernel(step.state.params, 1), strict=True)
        expected = [image_losses(outer, inner) for outer, inner in pairs]
        np.testing.assert_allclose(step.info.loss, expected, rtol=1e-5)


def test_nothing_is_lost_between_the_layers_and_the_whole(trained):
    _, second, _ = last_steps(trained)
    of_all = (step for step in trained if step.phase.name == "all layers")
    whole = next(step for step in of_all if step.info.done)
    assert whole.info.generation == 0
    np.testing.assert_allclose(whole.info.loss[0], second.info.loss[0], rtol=1e-6)


def test_the_best_network_has_the_lowest_loss_and_the_error_of_the_images(trained):
    for step in last_steps(trained)[1:]:
        error = layerwise.rmse(MODEL, step.best(), IMAGES)
        np.testing.assert_allclose(error**2, step.info.loss.min(), rtol=1e-5)
        expected = image_losses(*(kernel(step.best(), block) for block in (0, 1)))
        np.testing.assert_allclose(error**2, expected, rtol=1e-5)


def test_encoding_in_parts_is_encoding_at_once(watched):
    params = watched["image"][1].best()
    encode = partial(layerwise.encode, MODEL, params)
    parts = encode(encode(IMAGES, 0, 1), 1, 2)
    np.testing.assert_allclose(parts, encode(IMAGES), rtol=1e-5, atol=1e-6)


def test_work_counts_the_weights_an_example_passes():
    layers = (16, 8, 4, 2)
    for target, expected in [("image", [256, 192, 176]), ("layer", [256, 64, 16])]:
        found = layerwise.layer_phases(layers, (3, 4, 5), 2, target)
        assert [phase.work for phase in found] == expected
        assert [phase.generations for phase in found] == [3, 4, 5]
    assert layerwise.whole_phase(layers, 6, 2).work == 336
