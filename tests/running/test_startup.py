"""No help and no mistake waits for what only a training needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"jax", "flax", "optax", "sklearn", "scipy", "matplotlib", "gajax"}
LINES = [
    ("mnist_ga --help", 0),
    ("mnist_ga compare --help", 0),
    ("mnist_ga predict --help", 0),
    ("mnist_ga --populaton-size 10", 2),
    ("mnist_ga --batch-size 5001", 2),
    ("mnist_ga --seeds 1 1", 2),
    ("mnist_ga --out README.md", 2),
    ("mnist_ga compare --layers 10 5", 2),
    ("mnist_ga predict --run nowhere digit.png", 2),
    ("mnist_ga view --run nowhere", 2),
    ("gemonn --help", 0),
    ("gemonn compare --help", 0),
    ("gemonn export --help", 0),
    ("gemonn --hidden 0", 2),
    ("gemonn --seeds 0", 2),
    ("gemonn compare --seeds", 2),
    ("gemonn export --run nowhere --best --to x.safetensors", 2),
    ("gemonn view --run nowhere", 2),
]


@pytest.mark.parametrize("line, status", LINES, ids=[line for line, _ in LINES])
def test_nothing_heavy_is_imported(line, status):
    words = [sys.executable, "-X", "importtime", "-m", *f"experiments.{line}".split()]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == status
    names = {row.split("|")[-1].strip() for row in result.stderr.splitlines()}
    assert "experiments.running.cli" in names
    assert not HEAVY & names
