"""Run directories that nobody had to train, for tests of what reads them."""

import json

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from experiments.autoencoder import svm as classifier
from experiments.autoencoder import svm_file
from experiments.autoencoder.config import Config
from experiments.running import model_files as sparse_files
from experiments.running.run_directory import save_config

LAYERS = (784, 16, 8)
FRONT = "density,train_loss,test_loss\n0.1,0.5,0.5\n0.5,0.2,0.2\n1.0,0.1,0.1\n"
SUMMARY = {
    "method": "gemonn",
    "seed": 0,
    "cost": 10.0,
    "sequential_steps": 3,
    "seconds": 1.0,
    "zero_loss": 0.2,
}


def make_svm():
    """An SVM on eight features."""
    labels = np.arange(40, dtype=np.int32) % 10
    features = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32) + labels[:, None]
    return classifier.fit_svm(features, labels, c=5.0, gamma=1.0)


def make_run(folder):
    """A run of mnist_ga that `predict` takes, and a picture."""
    random = np.random.default_rng(1)
    arrays = {
        f"blocks_{number}/kernel": random.normal(0, 0.05, shape).astype(np.float32)
        for number, shape in enumerate(zip(LAYERS, LAYERS[1:], strict=False))
    }
    save_file(arrays, folder / "model.safetensors")
    svm_file.save(make_svm(), folder / "svm.skops")
    save_config(Config(layers=LAYERS), folder / "config.json")
    (folder / "summary.json").write_text(json.dumps({"method": "ga", "seed": 0, "cost": 10.0}))
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = 255
    Image.fromarray(digit).save(folder / "digit.png")
    return folder


def make_front(folder):
    """A run of gemonn with three networks that `export` and `compare` take."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 20, 30)) * (random.random((3, 20, 30)) < 0.3)
    population = {"blocks_0": {"kernel": kernel.astype(np.float32)}, "bias": np.float32([1, 2, 3])}
    sparse_files.save_population(population, folder / "population.safetensors")
    for name in ("front.csv", "population.csv"):
        (folder / name).write_text(FRONT)
    (folder / "metrics.csv").write_text(
        "sequential_steps,cost,log_hypervolume,best_loss\n1,1,0.2,0.3\n2,2,0.3,0.1\n"
    )
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    return folder
