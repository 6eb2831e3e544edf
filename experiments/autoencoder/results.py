"""Results of the training of an autoencoder."""

from typing import Any, NamedTuple

from sklearn.pipeline import Pipeline

from experiments.autoencoder.config import Config
from experiments.autoencoder.methods import Trained
from experiments.autoencoder.svm import Evaluation
from experiments.datasets.catalog import Dataset


class Results(NamedTuple):
    """Results of a training: one of `rows` per generation, `summary` serialisable as JSON."""

    config: Config
    dataset: Dataset
    trained: Trained
    svm: Pipeline
    evaluation: Evaluation  # on the test set
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
