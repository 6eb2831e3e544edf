"""Writing the results of a run, and loading them without executing code from files."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.pipeline import Pipeline

import gajax
from experiments.autoencoder import figures, layerwise, svm_file
from experiments.autoencoder.methods import Trained
from experiments.autoencoder.model import TiedAutoencoder
from experiments.autoencoder.results import Results
from experiments.reporting.tables import show_outcome
from experiments.running import files, meter
from experiments.running.cli import InputError
from experiments.running.run_directory import save_summary

COLUMNS: tuple[str, ...] = (
    "phase",
    "generation",
    "best_rmse",
    "median_rmse",
    "worst_rmse",
    "best_density",
    "surviving_children",
    "failed",
    *meter.COLUMNS,
)


def save(results: Results, directory: Path) -> None:
    """Write model, SVM, figures and finally the summary, which marks the run as finished."""
    gajax.save(results.trained.params, directory / "model.safetensors")
    svm_file.save(results.svm, directory / "svm.skops")
    _draw(results, directory / "figures")
    save_summary(results.summary, directory)


def load(directory: Path, model: TiedAutoencoder) -> tuple[Trained, Pipeline]:
    """Load network and SVM of a finished run; InputError if they do not fit `model`."""

    def init() -> Any:
        return model.init(jax.random.key(0), jnp.zeros(model.layers[0], jnp.float32))["params"]

    shapes = jax.eval_shape(init)
    # Untrusted files can make the readers raise exceptions of any class.
    try:
        genes = sum(leaf.size for leaf in jax.tree.leaves(shapes))
        if 4 * genes > files.NETWORK_BYTES:
            raise ValueError(f"a network of {genes:,} genes is too large")
        params = jax.tree.map(jnp.asarray, gajax.load(directory / "model.safetensors", shapes))
        if not gajax.individual.is_finite(params):
            raise ValueError("the model must hold finite numbers")
        svm = svm_file.load(directory / "svm.skops", model.layers[-1])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--run {directory} has a damaged model or SVM: {reason}") from None
    return Trained(model, params), svm


def table(results: Results, directory: Path) -> None:
    """Print the main results of a run."""
    summary = results.summary
    evaluation = results.evaluation
    worst = int(np.argmax(evaluation.class_error))
    lines = {
        "SVM accuracy, test": f"{summary['test_accuracy']:.2%}",
        "worst class": f"{evaluation.classes[worst]}, {evaluation.class_error[worst]:.1%} missed",
        "RMSE, train / test": f"{summary['train_rmse']:.4f} / {summary['test_rmse']:.4f}",
    }
    show_outcome(f"{summary['method']} on {summary['dataset']}", lines, summary, directory)


def _draw(results: Results, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    dataset, trained = results.dataset, results.trained
    shape = dataset.test_images.shape[1:]
    classes, firsts = np.unique(dataset.test_labels, return_index=True)
    originals = dataset.test_images[firsts].reshape(len(classes), -1)
    restored = np.asarray(layerwise.reconstruct(*trained, jnp.asarray(originals)))
    names = [str(label) for label in classes]
    figures.reconstructions(directory / "reconstructions.png", originals, restored, shape, names)
    evaluation = results.evaluation
    title = f"SVM on the features of {dataset.name}: {evaluation.accuracy:.2%} correct"
    path = directory / "confusion.png"
    figures.confusion(path, evaluation.confusion, title, evaluation.classes.tolist())
    kernel = np.asarray(trained.params["blocks_0"]["kernel"])
    figures.filters(directory / "filters.png", kernel, shape)
    if results.rows:
        figures.learning_curves(directory / "rmse.png", results.rows)
