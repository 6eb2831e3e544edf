"""Settings of the autoencoder's training, and what they must satisfy."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from experiments.datasets.catalog import Dataset, Name, load
from experiments.running.cli import MOST, flag, require, require_at_least, require_widths
from experiments.running.config import LOWEST, RunConfig, check_images
from experiments.running.config import check as check_run


@dataclass(frozen=True)
class Config(RunConfig):
    """Everything that decides the result of a run."""

    method: Literal["ga", "layerwise", "pretrained", "sgd", "pca"] = "ga"
    """the genetic algorithm; gradient descent of the layers alone, of the layers and then of all,
    or of all from the start; or principal components"""
    equal: Literal["steps", "cost"] = "steps"
    """what gradient descent takes as much of as ga: sequential steps, or cost"""
    dataset: Name = "mnist5k"
    """mnist5k is built in and most others are made of it; mnist, fashion_mnist and cifar10 are
    fetched once"""
    validation: int = 0
    """training images held out to choose settings by"""
    layers: tuple[int, ...] = (784, 500, 250, 100, 50)
    """widths, from the image to the code"""
    activation: Literal["tanh", "relu"] = "tanh"
    """between layers"""
    biases: bool = False
    """whether layers have biases"""
    target: Literal["image", "layer"] = "image"
    """what a layer learns to give back: the image, or the layer before"""
    population_size: int = 10
    """individuals; the better half survives"""
    generations: tuple[int, ...] = (1,)
    """for each layer, or one number for all"""
    whole_generations: int = 10
    """of all layers together, after the last layer"""
    finetune_epochs: int = 1
    """passes over the data that survivors learn for in a generation"""
    optimizer: Literal["muon", "adam", "adadelta", "sgd"] = "muon"
    """of the fine-tuning; sgd has momentum 0.9"""
    learning_rate: float = 0.05
    """its highest rate"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """of the rate, over a phase"""
    fresh_optimizer: bool = False
    """whether every generation starts with a new optimiser"""
    batch_size: int = 250
    """examples of one gradient step"""
    crossover: Literal["uniform", "one_point"] = "uniform"
    """how two parents mix"""
    crossover_rate: float = 0.2
    """uniform: share of genes from the father"""
    mutation: Literal["zero", "gaussian"] = "zero"
    """set genes to zero, or add noise"""
    mutation_rate: float = 0.01
    """share of the genes that mutate"""
    mutation_scale: float = 0.01
    """gaussian: standard deviation of the noise"""
    selection: Literal["truncation", "tournament"] = "truncation"
    """who survives: the better half, or the winners of pairs"""
    score_examples: int | None = None
    """training images that decide the ranking; all where not given"""
    svm_c: float | None = None
    """C of the SVM; from a grid where not given"""
    svm_gamma: float | None = None
    """gamma of the SVM in units of 1 / (features x variance); from a grid where not given"""
    out: Path | None = None
    """run directory, which must be new; runs/<time>-mnist_ga where not given"""


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


def check_against(config: Config, dataset: Dataset) -> None:
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
    require(epochs * images <= MOST, "--finetune-epochs", epochs, f"at most {MOST // images:,}")
    generations = sum(config.generations) + config.whole_generations
    steps = generations * epochs * (images // config.batch_size)
    fewer = f"so few that there are at most {MOST:,} gradient steps"
    require(steps <= MOST, "--generations", f"{generations:,}, which make {steps:,}", fewer)
    code, most = config.layers[-1], min(pixels, images)
    expected = f"a list that ends with at most {most}, the components there are"
    require(config.method != "pca" or code <= most, "--layers", code, expected)


def data_for(config: Config, dataset: Dataset | None = None) -> Dataset:
    """The data set of the config unless given; InputError where they do not fit together."""
    dataset = dataset or load(config.dataset, config.data_dir)
    check_against(config, dataset)
    return dataset


def multiple(config: Config) -> int | None:
    """What the population is a multiple of, times its devices; None where it is not shared."""
    return 2 if config.method == "ga" else None
