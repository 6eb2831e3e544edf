"""The experiment of fronts: what a run leaves, and that it is better than blind evolution."""

import csv
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.front import measures as fronts
from experiments.front import networks
from experiments.front import report as front_report
from experiments.front import training as front_training
from experiments.front.checks import check
from experiments.front.config import PRESETS, Config
from experiments.gemonn import train
from experiments.running import model_files as sparse_files

TIMES = {"seconds", "examples_per_second"}


def rows_of(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_everything_that_it_promises(front_run):
    names = {path.name for path in front_run.iterdir()}
    assert names == {
        *("config.json", "metrics.csv", "summary.json", "front.csv", "population.csv"),
        *("population.safetensors", "populations.json", "figures", "state"),
    }
    assert {path.name for path in (front_run / "figures").iterdir()} == {
        *("front.png", "loss.png", "hypervolume.png", "weights.png", "connections.png"),
        "reconstructions.png",
    }


def test_the_front_is_one_and_its_losses_are_those_of_whole_sets(
    front_run, front_config, front_dataset
):
    front = front_report.load_front(front_run / "front.csv")
    assert (np.diff(front.density) > 0).all() and (np.diff(front.train_loss) < 0).all()
    path = front_run / "population.safetensors"
    loaded = [sparse_files.load_network(path, index) for index in range(10)]
    names = ("hidden_bias", "kernel")
    leaves = {name: [one[f"blocks_0/{name}"] for one in loaded] for name in names}
    population = {"blocks_0": {name: jnp.stack(leaves[name]) for name in names}}
    network = networks.make("autoencoder", front_config.hidden, (28, 28, 1), 10)
    parts = front_training._parts(front_dataset, 0, jax.random.key(0))
    for part, stored in (("train", front.train_loss), ("test", front.test_loss)):
        losses = fronts.losses(network, population, parts[part])[: len(stored)]
        np.testing.assert_allclose(losses, stored, rtol=1e-5)
    genes = np.concatenate(
        [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(population)], axis=1
    )
    density = np.mean(genes != 0, axis=1)[: len(front.density)]
    np.testing.assert_allclose(density, front.density, rtol=1e-5)


def test_the_summary_agrees_with_the_metrics(front_run, front_config):
    summary = json.loads((front_run / "summary.json").read_text())
    last = rows_of(front_run)[-1]
    assert summary["cost"] == pytest.approx(
        summary["gradient_examples"] + summary["forward_examples"] / 3
    )
    assert summary["cost"] > float(last["cost"]), "the final refinement is counted"
    assert summary["cost"] <= front_config.budget
    assert summary["best_density"] >= summary["knee_density"]
    assert 0 < summary["log_hypervolume"] < 1


def test_the_front_is_a_good_one(front_run):
    summary = json.loads((front_run / "summary.json").read_text())
    assert summary["log_hypervolume"] > 0.06


@pytest.mark.heavy
def test_plain_nsga2_misses_that_front(front_config, front_dataset):
    blind = replace(front_config, method="nsga2", final_refine_steps=0)
    rival = train(blind, dataset=front_dataset).summary
    assert rival["cost"] > 0.9 * front_config.budget
    assert rival["log_hypervolume"] < 0.02


@pytest.mark.heavy
def test_the_same_seed_gives_the_same_bits(front_run, front_config, front_dataset, tmp_path):
    front_training.run(front_config, front_dataset, tmp_path)
    first, second = (
        [{k: v for k, v in row.items() if k not in TIMES} for row in rows_of(place)]
        for place in (front_run, tmp_path)
    )
    assert first == second
    for name in ("front.csv", "population.csv", "population.safetensors"):
        assert (front_run / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_paper_preset_is_the_published_setting():
    paper = check(PRESETS["paper"])
    assert paper.method == "gemonn"
    assert (paper.population_size, paper.generations, paper.batch_size) == (50, 500, 128)
    assert (paper.refine_steps, paper.final_refine_steps, paper.stale_parents) == (0, 1_000, True)
    assert (paper.gradient, paper.initial_densities, paper.budget) == ("paper", "graded", None)
    assert paper.hidden == (500,)
    assert not PRESETS["gajax"].stale_parents, "the stale scheme is the paper's alone"


def test_validation_images_are_not_learned_from(front_dataset):
    parts = front_training._parts(front_dataset, 300, jax.random.key(0))
    images = front_dataset.train_images.reshape(len(front_dataset.train_images), -1)
    np.testing.assert_array_equal(parts["train"].examples["images"], images[:700])
    np.testing.assert_array_equal(parts["validation"].examples["images"], images[700:])
    assert "validation" not in front_training._parts(front_dataset, 0, jax.random.key(0))


@pytest.mark.parametrize(
    "model",
    [
        "mlp",
        *(
            pytest.param(name, marks=pytest.mark.heavy)
            for name in ("lenet", "lstm", "deep-autoencoder")
        ),
    ],
)
def test_every_model_improves_until_the_last_generation(model, front_dataset):
    config = Config(
        method="gemonn",
        model=model,
        hidden={"lstm": (16,), "mlp": (16, 16), "deep-autoencoder": (32, 16)}.get(model),
        population_size=4,
        lowest_density=0.2,
        generations=6,
        budget=None,
        batch_size=50,
        refine_steps=8,
        learning_rate=0.02,
    )
    results = train(config, dataset=front_dataset)
    assert [row["generation"] for row in results.rows] == [*range(7)], "of 6"
    start, end = results.rows[0], results.rows[-1]
    assert end["best_loss"] < 0.8 * start["best_loss"]
    assert end["log_hypervolume"] > start["log_hypervolume"]
    if model != "deep-autoencoder":
        assert results.front.test_accuracy.max() > 0.3


def test_children_that_fail_are_counted_and_their_parents_stay(front_dataset):
    """At this rate every child that learns fails, in several steps a generation."""
    config = Config(
        method="gemonn",
        model="mlp",
        hidden=(16, 16),
        population_size=4,
        generations=3,
        budget=None,
        batch_size=50,
        refine_steps=40,
        refine_every=2,
        lowest_density=0.2,
        learning_rate=1e30,
    )
    results = train(config, dataset=front_dataset)
    assert [row["failed"] for row in results.rows] == [0, 0, 4, 0]
    assert np.isfinite(results.members.train_loss).all()
