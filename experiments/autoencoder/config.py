"""Settings of the autoencoder's training, and what they must satisfy."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from experiments.datasets.catalog import Dataset, Name, load
from experiments.running.cli import MAX_COUNT, flag, require, require_at_least, require_widths
from experiments.running.config import LOWEST, RunConfig, check_images
from experiments.running.config import check as check_run


@dataclass(frozen=True)
class Config(RunConfig):
    """Everything that decides the result of a run."""

    method: Literal["ga", "layerwise", "pretrained", "sgd", "pca"] = "ga"
    """how to train: the genetic algorithm; gradient descent of single layers, of single layers and
    then all, or of all from the start; or principal components"""
    equal: Literal["steps", "cost"] = "steps"
    """what gradient descent spends as much of as ga: sequential steps, or cost"""
    dataset: Name = "mnist5k"
    """images to learn from: mnist5k is built in and most others are made of it; mnist,
    fashion_mnist and cifar10 are fetched once"""
    validation: int = 0
    """number of training images held out to choose settings by"""
    layers: tuple[int, ...] = (784, 500, 250, 100, 50)
    """widths of the layers, from the image to the code"""
    activation: Literal["tanh", "relu"] = "tanh"
    """activation between layers"""
    biases: bool = False
    """give layers biases"""
    target: Literal["image", "layer"] = "image"
    """what a layer learns to give back: the image, or the layer before"""
    population_size: int = 10
    """number of individuals; the better half survives"""
    generations: tuple[int, ...] = (1,)
    """generations of each layer, or one number for all layers"""
    whole_generations: int = 10
    """generations of all layers together, after the last single layer"""
    finetune_epochs: int = 1
    """passes over the data in which survivors learn in a generation"""
    optimizer: Literal["muon", "adam", "adadelta", "sgd"] = "muon"
    """optimiser of the fine-tuning; sgd has momentum 0.9"""
    learning_rate: float = 0.05
    """highest learning rate"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """schedule of the learning rate over a phase"""
    fresh_optimizer: bool = False
    """start each generation with a new optimiser"""
    batch_size: int = 250
    """number of images in a gradient step"""
    crossover: Literal["uniform", "one_point"] = "uniform"
    """crossover of two parents"""
    crossover_rate: float = 0.2
    """share of the genes that uniform crossover swaps"""
    mutation: Literal["zero", "gaussian"] = "zero"
    """mutation of children: set genes to zero, or add noise"""
    mutation_rate: float = 0.01
    """share of the genes that mutate"""
    mutation_scale: float = 0.01
    """standard deviation of the noise of gaussian mutation"""
    selection: Literal["truncation", "tournament"] = "truncation"
    """selection of survivors: the better half, or the winners of tournaments of two"""
    score_examples: int | None = None
    """number of training images that decide the ranking; by default all"""
    svm_c: float | None = None
    """C of the SVM; by default chosen from a grid"""
    svm_gamma: float | None = None
    """gamma of the SVM in units of 1 / (features x variance); by default chosen from a grid"""
    out: Path | None = None
    """new directory for the results; by default runs/<time>-mnist_ga"""

    GROUPS = {
        "common options": (
            "method",
            "dataset",
            "data_dir",
            "layers",
            "population_size",
            "generations",
            "whole_generations",
            "seed",
            "out",
            "quiet",
            "preset",
        ),
        "network": ("activation", "biases", "target"),
        "evolution": (
            "crossover",
            "crossover_rate",
            "mutation",
            "mutation_rate",
            "mutation_scale",
            "selection",
            "score_examples",
        ),
        "fine-tuning": (
            "optimizer",
            "learning_rate",
            "schedule",
            "batch_size",
            "finetune_epochs",
            "fresh_optimizer",
            "equal",
        ),
        "support vector machine": ("svm_c", "svm_gamma"),
        **RunConfig.GROUPS,
    }


PRESETS = {
    "gajax": Config(),
    "paper": Config(
        preset="paper",
        generations=(5,),
        whole_generations=0,
        optimizer="adadelta",
        learning_rate=0.01,
        schedule="constant",
        fresh_optimizer=True,
        batch_size=32,
    ),
}


_LOWEST = {
    **LOWEST,
    "whole_generations": 0,
    "finetune_epochs": 1,
    "score_examples": 1,
}


def check(config: Config) -> Config:
    """The config with a number of generations for each layer; InputError where it is wrong."""
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
    """InputError where the config does not fit the data."""
    pixels = math.prod(dataset.train_images.shape[1:])
    require(
        config.layers[0] == pixels,
        "--layers",
        " ".join(map(str, config.layers)),
        f"a list that starts with {pixels}, the pixels of an image of {dataset.name}",
    )
    images = check_images(config, len(dataset.train_images))
    epochs = config.finetune_epochs
    require(
        epochs * images <= MAX_COUNT,
        "--finetune-epochs",
        epochs,
        f"at most {MAX_COUNT // images:,}",
    )
    generations = sum(config.generations) + config.whole_generations
    steps = generations * epochs * (images // config.batch_size)
    fewer = f"so few that there are at most {MAX_COUNT:,} gradient steps"
    require(steps <= MAX_COUNT, "--generations", f"{generations:,}, which make {steps:,}", fewer)
    code, most = config.layers[-1], min(pixels, images)
    expected = f"a list that ends with at most {most}, the components there are"
    require(config.method != "pca" or code <= most, "--layers", code, expected)


def load_data(config: Config, dataset: Dataset | None = None) -> Dataset:
    """The data set of the config unless given; InputError where they do not fit together."""
    dataset = dataset or load(config.dataset, config.data_dir)
    check_dataset(config, dataset)
    return dataset


def population_multiple(config: Config) -> int | None:
    """What the population is a multiple of, times its devices; None where it is not shared."""
    return 2 if config.method == "ga" else None
