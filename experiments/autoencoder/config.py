"""Settings of the training of autoencoders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.datasets.catalog import Name
from experiments.running.config import RunConfig


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a run."""

    method: Literal[
        "ga", "ga-no-means", "ga-strangers", "layerwise", "pretrained", "sgd", "pca"
    ] = "ga"
    """training method: genetic algorithm (ga), also with copies as children (ga-no-means) or with
    strangers that exchange genes (ga-strangers); gradient descent on single layers (layerwise), on
    single layers and then all (pretrained), or on all (sgd); or principal components (pca)"""
    equal: Literal["steps", "cost"] = "steps"
    """budget in which gradient descent equals ga: sequential steps, or cost"""
    dataset: Name = "mnist5k"
    """data set: mnist5k and digits are built in, and most others are generated from mnist5k; mnist,
    fashion_mnist and cifar10 are downloaded once"""
    validation: int = 0
    """number of training images held out for choosing settings"""
    layers: tuple[int, ...] = (784, 500, 250, 100, 50)
    """widths of the layers, from the image to the code"""
    activation: Literal["tanh", "relu"] = "tanh"
    """activation function between layers"""
    biases: bool = False
    """add biases to layers"""
    target: Literal["image", "layer"] = "image"
    """target of the reconstruction of a layer: the image, or the output of the layer before"""
    population_size: int = 10
    """number of individuals; the better half survives"""
    generations: tuple[int, ...] = (2,)
    """number of generations of each layer, or one number for all layers"""
    whole_generations: int = 12
    """number of generations of all layers together, after the last single layer"""
    finetune_steps: int = 20
    """number of gradient steps in a generation"""
    finetune_epochs: int | None = None
    """number of epochs in a generation, in place of --finetune-steps"""
    layer_steps: int | None = 5
    """number of gradient steps in a generation of a single layer; None for as many as in those of
    all layers"""
    optimizer: Literal["muon", "adam", "adadelta", "sgd"] = "muon"
    """optimiser of fine-tuning; sgd has momentum 0.9"""
    learning_rate: float | None = None
    """peak learning rate; by default 0.08 for ga with means and tanh, else 0.05"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """learning-rate schedule over a phase"""
    fresh_optimizer: bool = False
    """reset the optimiser state in each generation"""
    batch_size: int = 250
    """number of images in a gradient step"""
    crossover: Literal["mean", "uniform", "one_point"] = "mean"
    """crossover operator: means of all survivors, which then descend from one network and learn
    from batches of their own; or an exchange of genes, as published"""
    crossover_rate: float = 0.2
    """fraction of genes that uniform crossover swaps"""
    mutation: Literal["zero", "gaussian"] = "zero"
    """mutation operator: set genes to zero, or add noise"""
    mutation_rate: float | None = None
    """fraction of genes that mutate; by default 0 with means, else 0.01"""
    mutation_scale: float = 0.01
    """standard deviation of gaussian mutation"""
    selection: Literal["truncation", "tournament"] = "truncation"
    """selection of survivors: the better half, or the winners of tournaments of two"""
    score_examples: int | None = None
    """number of training images that individuals are scored on; by default all"""
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
            "finetune_steps",
            "finetune_epochs",
            "layer_steps",
            "fresh_optimizer",
            "equal",
        ),
        "support vector machine": ("svm_c", "svm_gamma"),
        **RunConfig.GROUPS,
    }

    def lowest_extensions(self, run: Path) -> dict[str, float]:
        """The generations of all layers, where they come last and change no earlier phase."""
        del run
        is_last = self.is_evolving or self.method == "sgd"
        is_last |= self.method == "pretrained" and self.whole_generations > 0
        return {"whole_generations": self.whole_generations} if is_last else {}

    @property
    def is_evolving(self) -> bool:
        """Whether the method is a genetic algorithm."""
        return self.method.startswith("ga")

    @property
    def is_of_relatives(self) -> bool:
        """Whether all individuals descend from one network."""
        is_given = self.method == "ga" and self.crossover == "mean"
        return is_given or self.method == "ga-no-means"

    @property
    def rate(self) -> float:
        """The learning rate of a config that `check` has completed."""
        assert self.learning_rate is not None
        return self.learning_rate

    def steps(self, examples: int) -> int:
        """Gradient steps of a generation."""
        if self.finetune_epochs is None:
            return self.finetune_steps
        return self.finetune_epochs * (examples // self.batch_size)


PRESETS = {
    "gajax": Config(),
    "paper": Config(
        preset="paper",
        crossover="uniform",
        generations=(5,),
        whole_generations=0,
        finetune_epochs=1,
        layer_steps=None,
        optimizer="adadelta",
        learning_rate=0.01,
        schedule="constant",
        fresh_optimizer=True,
        batch_size=32,
    ),
}


def population_multiple(config: Config) -> int | None:
    """Factor that the population per device must be a multiple of; None if it is not sharded."""
    return 2 if config.is_evolving else None
