"""Evaluation of features by a support vector machine."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

C_GRID = (2.0, 10.0, 50.0)
GAMMA_GRID = (0.5, 1.0, 2.0)
"""In units of 1 / (features x variance), the `scale` of scikit-learn."""
GRID_TRAINING_EXAMPLES = 10_000
GRID_HELD_OUT_EXAMPLES = 5_000


class Evaluation(NamedTuple):
    """Performance of a classifier on labelled features."""

    accuracy: float
    classes: Int[np.ndarray, " K"]  # the labels of training and of these features
    confusion: Int[np.ndarray, "K K"]  # true classes down, predicted ones across
    class_error: Float[np.ndarray, " K"]


def fit_svm(
    features: Float[np.ndarray, "N F"],
    labels: Int[np.ndarray, " N"],
    *,
    c: float | None = None,
    gamma: float | None = None,
    seed: int = 0,
) -> Pipeline:
    """Fit an RBF support vector machine on the features.

    If `c` or `gamma` (in units of 1 / (features x variance)) is None, it is chosen from a grid by
    the score on a held-out part of the features.
    """
    scale = _scale(features)
    choices = [
        (chosen_c, scale * chosen_gamma)
        for chosen_c in (C_GRID if c is None else (c,))
        for chosen_gamma in (GAMMA_GRID if gamma is None else (gamma,))
    ]
    if len(choices) > 1:
        counts = np.unique(labels, return_counts=True)[1]
        held_out = min(GRID_HELD_OUT_EXAMPLES, len(labels) // 5)
        train_x, test_x, train_y, test_y = train_test_split(
            features,
            labels,
            train_size=min(GRID_TRAINING_EXAMPLES, len(labels) - held_out),
            test_size=held_out,
            random_state=seed,
            # A split by class needs two examples of each, and room for all classes in both parts.
            stratify=labels if counts.min() > 1 and held_out >= len(counts) else None,
        )
        scores = [
            make_svm(*choice).fit(train_x, train_y).score(test_x, test_y) for choice in choices
        ]
        choices = [choices[int(np.argmax(scores))]]
    return make_svm(*choices[0]).fit(features, labels)


def chosen_parameters(svm: Pipeline, features: Float[np.ndarray, "N F"]) -> dict[str, float]:
    """`svm_c` and `svm_gamma` of an SVM fitted on the features, in the units of `fit_svm`."""
    parameters = svm.get_params()
    gamma = parameters["svm__gamma"] / _scale(features)
    return {"svm_c": parameters["svm__C"], "svm_gamma": round(gamma, 6)}


def _scale(features: Float[np.ndarray, "N F"]) -> float:
    variance = float(features.var())
    return 1 / (features.shape[1] * variance) if variance > 0 else 1.0


def make_svm(c: float, gamma: Any) -> Pipeline:
    """An unfitted support vector machine."""
    # Break ties so that the predicted class has the largest decision value, as in margins.
    return Pipeline([("svm", SVC(C=c, gamma=gamma, break_ties=True, cache_size=1_000))])


def evaluate(
    svm: Pipeline, features: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"]
) -> Evaluation:
    """Accuracy, confusion matrix and error rate of each class.

    Labels that the SVM has not been trained on count as errors; the error rate of a class without
    features is 0.
    """
    classes = np.union1d(svm.classes_, labels)
    predicted = svm.predict(features)
    matrix = confusion_matrix(labels, predicted, labels=classes)
    missed = matrix.sum(axis=1) - np.diag(matrix)
    errors = missed / np.maximum(matrix.sum(axis=1), 1)
    return Evaluation(float(np.mean(predicted == labels)), classes, matrix, errors)


def fit_and_evaluate(
    parts: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    c: float | None = None,
    gamma: float | None = None,
    seed: int = 0,
) -> tuple[Pipeline, dict[str, Evaluation]]:
    """Fit on the features and labels of `train` and evaluate on every other part."""
    svm = fit_svm(*parts["train"], c=c, gamma=gamma, seed=seed)
    return svm, {name: evaluate(svm, *part) for name, part in parts.items() if name != "train"}


def predict_with_margins(
    svm: Pipeline, features: Float[np.ndarray, "N F"]
) -> tuple[np.ndarray, np.ndarray]:
    """Predict classes, with the difference between the two largest decision values of each."""
    decisions = svm.decision_function(features)
    if decisions.ndim == 1:
        return svm.predict(features), np.abs(decisions)
    ordered = np.sort(decisions, axis=1)
    return svm.classes_[np.argmax(decisions, axis=1)], ordered[:, -1] - ordered[:, -2]
