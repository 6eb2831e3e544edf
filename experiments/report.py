"""The run directory: made once, written as the run goes, read back without running any code."""

import csv
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import figures, layerwise
from experiments.cli import InputError
from experiments.methods import Trained
from gajax.models import TiedAutoencoder

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from experiments.mnist_ga import Results

COLUMNS: tuple[str, ...] = (
    "phase",
    "generation",
    "best_rmse",
    "median_rmse",
    "worst_rmse",
    "best_density",
    "gradient_examples",
    "forward_examples",
    "cost",
    "sequential_steps",
    "seconds",
    "examples_per_second",
)


def new_directory(out: Path | None, name: str) -> Path:
    """Make the run directory, `runs/<time>-<name>` where `out` is None; never one in use."""
    stem = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    directory = out or stem
    number = 1
    while out is None and directory.exists():
        number += 1
        directory = stem.with_name(f"{stem.name}-{number}")
    make_directory(directory)
    if any(directory.iterdir()):
        raise InputError(f"--out must be a new or an empty directory, not {directory}")
    return directory


def make_directory(directory: Path) -> None:
    """Make a directory that `--out` names, or one below it; InputError where that fails."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wanted = "a directory that can be written"
        raise InputError(f"--out must be {wanted}, not {directory} ({error.strerror})") from None


@contextmanager
def metrics_file(
    path: Path, columns: Sequence[str] = COLUMNS
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that appends a row of metrics to the CSV file and has it on disk at once."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()

        def write(row: dict[str, Any]) -> None:
            writer.writerow(row)
            file.flush()

        yield write


def save(results: "Results", directory: Path) -> None:
    """Write model, SVM, figures and, last, the summary: a run that has one is whole."""
    import skops.io
    from safetensors.numpy import save_file

    save_file(_flat(results.trained.params), directory / "model.safetensors")
    skops.io.dump(results.svm, directory / "svm.skops")
    _draw(results, directory / "figures")
    write_text(directory / "summary.json", json.dumps(results.summary, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def load(directory: Path, model: TiedAutoencoder) -> tuple[Trained, "Pipeline"]:
    """The network and the SVM of a finished run; InputError where they are not those of `model`."""
    import skops.io
    from safetensors.numpy import load_file

    image = jnp.zeros(model.layers[0])
    expected = _flat(
        jax.eval_shape(lambda: model.init(jax.random.key(0), image)["params"]), convert=False
    )
    # Whatever is wrong with files from elsewhere, their readers say it in exceptions of all kinds.
    try:
        arrays = load_file(directory / "model.safetensors")
        svm = skops.io.load(directory / "svm.skops", trusted=[])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--run {directory} has a damaged model or SVM: {reason}") from None
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != {name: leaf.shape for name, leaf in expected.items()}:
        raise InputError(f"--run {directory} has a model that its config.json does not describe")
    params: dict = {}
    for name, array in arrays.items():
        block, leaf = name.split("/")
        params.setdefault(block, {})[leaf] = jnp.asarray(array)
    return Trained(model, params), svm


def table(results: "Results", directory: Path) -> None:
    """Print what a person wants to know first, on stdout."""
    summary = results.summary
    view = Table(title=f"{summary['method']} on {summary['dataset']}", show_header=False)
    worst = int(np.argmax(results.verdict.class_error))
    lines = {
        "SVM accuracy, test": f"{summary['test_accuracy']:.2%}",
        "worst class": f"{worst}, {results.verdict.class_error[worst]:.1%} missed",
        "RMSE, train / test": f"{summary['train_rmse']:.4f} / {summary['test_rmse']:.4f}",
        "cost": f"{summary['cost']:,.0f} gradient examples",
        "sequential steps": f"{summary['sequential_steps']:,}",
        "time": f"{summary['seconds']:.0f} s",
        "written to": str(directory),
    }
    for name, value in lines.items():
        view.add_row(name, value)
    Console().print(view)


def _flat(params: dict, convert: bool = True) -> dict[str, Any]:
    return {
        f"{block}/{name}": np.asarray(leaf) if convert else leaf
        for block, leaves in params.items()
        for name, leaf in leaves.items()
    }


def _draw(results: "Results", directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    dataset, trained = results.dataset, results.trained
    shape = dataset.test_images.shape[1:]
    classes, firsts = np.unique(dataset.test_labels, return_index=True)
    originals = dataset.test_images[firsts].reshape(len(classes), -1)
    restored = np.asarray(layerwise.reconstruct(*trained, jnp.asarray(originals)))
    names = [str(label) for label in classes]
    figures.reconstructions(directory / "reconstructions.png", originals, restored, shape, names)
    title = f"SVM on the features of {dataset.name}: {results.verdict.accuracy:.2%} right"
    figures.confusion(directory / "confusion.png", results.verdict.confusion, title)
    kernel = np.asarray(trained.params["blocks_0"]["kernel"])
    figures.filters(directory / "filters.png", kernel, shape)
    if results.rows:
        figures.learning_curves(directory / "rmse.png", results.rows)
