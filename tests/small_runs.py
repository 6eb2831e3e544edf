"""Runs of both experiments that take a second, and what they leave."""

import csv
import json

import pytest

from experiments.autoencoder import checks as autoencoder_checks
from experiments.autoencoder import compare as autoencoder_compare
from experiments.datasets.catalog import load
from experiments.front import checks as front_checks
from experiments.front import compare as front_compare
from experiments.running import cache, steps

TIMES = {"seconds", "examples_per_second"}
TRAINING = (
    "--layers 784 16 8 --population-size 4 --generations 1 --whole-generations 1 --optimizer adam "
    "--svm-c 5 --svm-gamma 1 --quiet"
).split()
EVOLUTION = (
    "--method gemonn --hidden 8 --population-size 5 --batch-size 50 --generations 3 --budget None "
    "--refine-steps 4 --final-refine-steps 30 --quiet"
).split()


def few(dataset):
    """The data set with fewer images."""
    return dataset._replace(
        train_images=dataset.train_images[:500],
        train_labels=dataset.train_labels[:500],
        test_images=dataset.test_images[:100],
        test_labels=dataset.test_labels[:100],
    )


def load_few(monkeypatch):
    """Both experiments and their comparisons see few images."""
    for module in (autoencoder_checks, autoencoder_compare, front_checks, front_compare):
        monkeypatch.setattr(module, "load", lambda *source: few(load(*source)))


def keep_programs(monkeypatch):
    """Runs of a comparison share their programs, and say so in the list that is returned."""
    kept = []
    monkeypatch.setattr(cache, "clear_programs", lambda: kept.append(None))
    return kept


def make_small(monkeypatch):
    """They see few images, and still take several steps in a generation."""
    monkeypatch.setattr(steps, "SECONDS", 1e-9)
    load_few(monkeypatch)


@pytest.fixture
def small_steps(monkeypatch):
    """Such runs, for a whole test."""
    make_small(monkeypatch)


def content(directory):
    """What a run has left, without the seconds that it took."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]
    summary = json.loads((directory / "summary.json").read_text())
    files = {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.suffix == ".safetensors"
        or path.name in ("front.csv", "populations.json", "config.json")
    }
    relative = [path.relative_to(directory) for path in directory.rglob("*")]
    names = sorted(str(path) for path in relative if path.parts[0] != "state")
    return rows, {**summary, "seconds": None}, files, names
