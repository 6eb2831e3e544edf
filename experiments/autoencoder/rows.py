"""Rows of a comparison of autoencoders, and the published results."""

from typing import Literal, get_args

from experiments.running import files

Row = Literal[
    "ga-tanh",
    "ga-relu",
    "ga-no-means-tanh",
    "ga-strangers-tanh",
    "layerwise-tanh",
    "layerwise-relu",
    "pretrained-tanh",
    "pretrained-relu",
    "sgd-tanh",
    "sgd-relu",
    "pca",
]
ROWS: tuple[Row, ...] = get_args(Row)

ABLATIONS: tuple[Row, ...] = ("ga-no-means-tanh", "ga-strangers-tanh")
"""Rows of the genetic algorithm without a part of it."""

MEASURES = {
    "test_accuracy": ("SVM accuracy", "{:.2%}"),
    "published_accuracy": ("published", "{:.2%}"),
    "test_rmse": ("test RMSE", "{:.4f}"),
    "published_rmse": ("published", "{:.4f}"),
    "density": ("density", "{:.4f}"),
    "gradient_examples": ("gradient examples", "{:.3g}"),
    "cost": ("cost", "{:.3g}"),
    "sequential_steps": ("sequential steps", "{:,.0f}"),
    "seconds": ("seconds", "{:.0f}"),
    "tuning_cost": ("cost of tuning", "{:.3g}"),
}

SUMMARY: files.Schema = {
    "activation": files.is_text,
    "equal": files.is_text,
    "density": files.within(0, 1),
    "svm_c": files.within(0),
    "svm_gamma": files.within(0),
    **{f"{part}_rmse": files.within(0) for part in ("train", "validation", "test")},
    **{f"{part}_accuracy": files.within(0, 1) for part in ("validation", "test")},
}
"""What `summary.json` holds beside what it does of any run."""

PUBLISHED = {
    "ga-tanh": (0.9831, 0.0996),
    "ga-relu": (0.9565, 0.1098),
    "layerwise-tanh": (0.9784, 0.2926),
    "layerwise-relu": (0.9401, 0.3122),
    "sgd-tanh": (0.9811, 0.1315),
    "sgd-relu": (0.9348, 0.3268),
}
"""SVM accuracy and RMSE on full MNIST (David & Greental)."""

TUNED = "-tuned"
"""Ends the names of rows that are tuned."""

SECTIONS = {"steps": "At equal sequential steps", "cost": "At equal cost"}


def row_of(method: str, activation: str) -> str:
    """The row of a method with an activation."""
    return method if method == "pca" else f"{method}-{activation}"


def name_of(row: str, budget: str, *, is_tuned: bool = False) -> str:
    """The name of a row at a budget in tables and run directories.

    `is_tuned` says that its learning rate was chosen from a grid on held-out images.
    """
    return f"{row}-{budget}" + TUNED * is_tuned if is_baseline(row) else row


def is_baseline(row: str) -> bool:
    """Whether the method of the row has a budget relative to the genetic algorithm."""
    return not row.startswith(("ga", "pca"))
