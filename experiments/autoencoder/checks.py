"""Validation of the settings of the training of autoencoders."""

import math
from dataclasses import replace

from experiments.autoencoder.config import Config
from experiments.datasets.catalog import Dataset, load
from experiments.running.cli import (
    MAX_COUNT,
    InputError,
    flag,
    require,
    require_at_least,
    require_widths,
)
from experiments.running.config import LOWEST, check_images
from experiments.running.config import check as check_run

_LOWEST = {
    **LOWEST,
    "whole_generations": 0,
    "finetune_epochs": 1,
    "finetune_steps": 1,
    "layer_steps": 1,
    "score_examples": 1,
}


def check(config: Config) -> Config:
    """Complete the config with generations for each layer; InputError if it is invalid."""
    layers = len(config.layers) - 1
    require_widths("--layers", config.layers)
    shown = " ".join(map(str, config.layers))
    require(layers > 0 and min(config.layers) > 0, "--layers", shown, "two positive widths or more")
    generations = config.generations
    generations = generations * layers if len(generations) == 1 else generations
    require(
        len(generations) == layers and min(generations) > 0,
        "--generations",
        " ".join(map(str, config.generations)),
        f"one positive number, or {layers}, one for each layer",
    )
    require_at_least(config, _LOWEST)
    if config.mutation_rate is None:
        config = replace(config, mutation_rate=0.0 if config.is_of_relatives else 0.01)
    if config.learning_rate is None:
        is_fast = config.is_of_relatives and config.activation == "tanh"
        config = replace(config, learning_rate=0.08 if is_fast else 0.05)
    for name in ("crossover_rate", "mutation_rate"):
        value = getattr(config, name)
        require(0 <= value <= 1, flag(name), value, "from 0 to 1")
    for name in ("learning_rate", "mutation_scale", "svm_c", "svm_gamma"):
        value = getattr(config, name)
        require(value is None or 0 < value < math.inf, flag(name), value, "above 0")
    config = replace(config, generations=generations)
    check_run(config)
    return config


def check_dataset(config: Config, dataset: Dataset) -> None:
    """Raise InputError if the config does not fit the data."""
    pixels = math.prod(dataset.train_images.shape[1:])
    require(
        config.layers[0] == pixels,
        "--layers",
        " ".join(map(str, config.layers)),
        f"a list that starts with {pixels}, the pixels of an image of {dataset.name}",
    )
    images = check_images(config, len(dataset.train_images))
    labels = [*set(dataset.train_labels[:images].tolist())]
    if len(labels) < 2:
        only = f"only {labels[0]}" if labels else "none"
        raise InputError(f"the training images of {dataset.name} must have two labels, not {only}")
    epochs = config.finetune_epochs
    require(
        epochs is None or epochs * images <= MAX_COUNT,
        "--finetune-epochs",
        epochs,
        f"at most {MAX_COUNT // images:,}",
    )
    generations = sum(config.generations) + config.whole_generations
    steps = generations * config.steps(images)
    fewer = f"so few that there are at most {MAX_COUNT:,} gradient steps"
    require(steps <= MAX_COUNT, "--generations", f"{generations:,}, which make {steps:,}", fewer)
    code, most = config.layers[-1], min(pixels, images)
    expected = f"a list that ends with at most {most}, the largest number of components"
    require(config.method != "pca" or code <= most, "--layers", code, expected)


def load_data(config: Config, dataset: Dataset | None = None) -> Dataset:
    """Load the data set unless given; InputError if the config does not fit it."""
    dataset = dataset or load(config.dataset, config.data_dir)
    check_dataset(config, dataset)
    return dataset
