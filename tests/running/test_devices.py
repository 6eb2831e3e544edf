"""Runs on several devices come to what one comes to."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments import gemonn, mnist_ga
from experiments.autoencoder.config import population_multiple as autoencoder_multiple
from experiments.front.config import population_multiple as front_multiple
from experiments.running import devices
from experiments.running.cli import InputError
from experiments.running.parsing import parse

FLAGS = (
    "--hidden 16 --population-size 8 --generations {generations} --budget 1e9 --batch-size 50 "
    "--refine-steps 3 --final-refine-steps 20 --lowest-density 0.01 --chunk-size 1 --quiet"
)
SMALL = parse(
    gemonn.Config,
    FLAGS.format(generations=3).split(),
    presets=gemonn.PRESETS,
    program="",
    description="",
)


@pytest.fixture(scope="module")
def alone():
    """What the small config comes to on one device."""
    return gemonn.train(SMALL)


@pytest.mark.heavy
def test_a_front_of_four_devices_is_that_of_one(alone):
    shared = gemonn.train(replace(SMALL, devices=4))
    for found, expected in zip(
        jax.tree.leaves((shared.population, shared.members, shared.snapshots)),
        jax.tree.leaves((alone.population, alone.members, alone.snapshots)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.heavy
def test_an_autoencoder_of_two_devices_is_that_of_one(small_config):
    config = replace(small_config, whole_generations=1, generations=(1, 1), chunk_size=1)
    alone, shared = (mnist_ga.train(replace(config, devices=count)) for count in (1, 2))
    # The compiler fuses Muon's products in another way here, so the last bits differ.
    for name in ("best_rmse", "median_rmse", "worst_rmse"):
        found, expected = ([row[name] for row in results.rows] for results in (shared, alone))
        np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (gemonn, {"devices": 3}, "--population-size must be a multiple of 3 on 3 .* 6 or 9, not 8"),
        (gemonn, {"devices": 99}, "--devices must be at most 8, the available devices, not 99"),
        (gemonn, {"devices": 2, "method": "pruning"}, "--devices must be 1 for pruning"),
        (mnist_ga, {"devices": 2}, "--population-size must be a multiple of 4 .* 8 or 12, not 10"),
        (mnist_ga, {"devices": 2, "method": "sgd"}, "--devices must be 1 for sgd"),
    ],
)
def test_devices_that_do_not_fit_are_refused(module, changes, message):
    base = SMALL if module is gemonn else mnist_ga.Config()
    config = module.check(replace(base, **changes))
    multiple = front_multiple if module is gemonn else autoencoder_multiple
    with pytest.raises(InputError, match=message):
        devices.count(config, multiple(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 0}, "--devices must be 1 or more, not 0"),
        ({"processes": 2}, "--processes must be given together with --distributed, not 2"),
        ({"distributed": True, "processes": 2}, "must be given together or not at all"),
        (
            {"distributed": True, "processes": 2, "process_id": 2, "coordinator": "a:1"},
            "--process-id must be below 2, not 2",
        ),
        (
            {"distributed": True, "processes": 2, "process_id": 0, "coordinator": "a:x"},
            "--coordinator must be HOST:PORT, .* not a:x",
        ),
        ({"connect_timeout": 0.0}, "--connect-timeout must be above 0 and .*, not 0.0"),
    ],
)
def test_contradictions_of_a_distributed_run_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        gemonn.check(replace(SMALL, **changes))


NEEDED = {
    "export": ["--run", "RUN", "--to", "dense", "--best"],
    "view": ["--run", "RUN"],
    "predict": ["IMAGE.png", "--run", "RUN"],
}


@pytest.mark.parametrize(
    ("module", "command"),
    [(module, name) for module in (gemonn, mnist_ga) for name in module.COMMANDS],
)
@pytest.mark.parametrize("others", [[], ["--coordinator", "127.0.0.1:7700"]])
def test_only_runs_are_distributed(module, command, others, tmp_path, monkeypatch):
    """Every other command refuses it in a sentence that names it, before it does anything."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--distributed"):
        module.main([command, *NEEDED.get(command, []), "--distributed", *others])
    assert not any(tmp_path.iterdir())
