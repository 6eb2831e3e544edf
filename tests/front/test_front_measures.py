"""The number that judges a front, and what is measured on whole sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from experiments.front import measures as fronts
from experiments.front import networks
from experiments.front import report as front_report
from gajax.results import non_dominated

ZERO_LOSS = 0.2312


@pytest.mark.parametrize(
    "algorithm, score",
    [("GEMONN", 0.210), ("NSGA-II(+gradient_0)", 0.018), ("NSGA-II", 0.004)],
)
def test_published_fronts_have_the_hypervolumes_that_are_known(algorithm, score):
    points = front_report.published()[algorithm]
    assert fronts.log_hypervolume(*points, ZERO_LOSS) == pytest.approx(score, abs=1e-3)


def test_the_log_hypervolume_is_the_area_of_the_rectangles():
    random = np.random.default_rng(0)
    density, loss = 10 ** random.uniform(-3.5, 0, 20), 10 ** random.uniform(-4.5, 0, 20)
    side = np.linspace(0, 1, 1_001)[:-1] + 0.0005
    x = np.log(1 / np.maximum(density, 1e-3)) / np.log(1000)
    y = np.log(ZERO_LOSS / np.maximum(loss, 1e-4)) / np.log(2312)
    covered = np.zeros((1_000, 1_000), bool)
    for right, top in zip(x, y, strict=True):
        covered |= (side[:, None] < right) & (side < top)
    found = fronts.log_hypervolume(density, loss, ZERO_LOSS)
    assert found == pytest.approx(covered.mean(), abs=2e-3)


@pytest.mark.parametrize(
    "density, loss, score",
    [
        ([1.0], [1e-4], 0.0),
        ([1e-3], [ZERO_LOSS], 0.0),
        ([0.0], [1e-9], 1.0),
        ([0.5, 0.01], [np.nan, np.inf], 0.0),
        ([], [], 0.0),
    ],
)
def test_the_ends_of_the_scale(density, loss, score):
    assert fronts.log_hypervolume(density, loss, ZERO_LOSS) == pytest.approx(score, abs=1e-4)


def test_nondominated_keeps_one_point_of_each_kind():
    density, loss = np.array([0.3, 0.1, 0.1, 0.2, 0.3]), np.array([0.1, 0.5, 0.5, 0.6, np.nan])
    assert non_dominated(np.stack([density, loss], axis=1)).tolist() == [1, 0]


def test_losses_and_accuracies_are_those_of_all_examples():
    network = networks.make("mlp", (6,), (3, 3, 1), 4)
    population = gajax.init(jax.random.key(0), network.init, 3)
    images = jax.random.bits(jax.random.key(1), (2_500, 9), jnp.uint8)
    labels = jax.random.randint(jax.random.key(2), (2_500,), 0, 4)
    data = gajax.Data({"images": images, "labels": labels}, jax.random.key(3))
    losses = fronts.losses(network, population, data)
    accuracies = fronts.accuracies(network, population, data)
    for index in range(3):
        logits = np.asarray(network.logits(gajax.take(population, index), images), np.float64)
        log_sum = np.log(np.exp(logits).sum(axis=1))
        expected = np.mean(log_sum - logits[np.arange(2_500), np.asarray(labels)])
        assert losses[index] == pytest.approx(expected, rel=1e-4)
        right = np.mean(logits.argmax(axis=1) == np.asarray(labels))
        assert accuracies[index] == pytest.approx(right, rel=1e-4)


def test_the_network_of_zeros_is_the_end_of_the_scale():
    network = networks.make("autoencoder", (5,), (3, 3, 1), 10)
    images = jax.random.bits(jax.random.key(1), (50, 9), jnp.uint8)
    data = gajax.Data({"images": images}, jax.random.key(3))
    expected = np.mean((np.asarray(images) / 255 - 0.5) ** 2)
    assert fronts.zero_loss(network, data) == pytest.approx(expected, rel=1e-4)
