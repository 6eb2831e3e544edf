"""The run directory of a front: written as the run goes, read back without running any code."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from rich.table import Table

from experiments.front import methods as front_methods
from experiments.front.measures import Front, Step, log_hypervolume
from experiments.running import files
from experiments.running import model_files as sparse_files
from experiments.running.cli import InputError, printable, show
from experiments.running.run_directory import write_text

if TYPE_CHECKING:
    from experiments.front.config import Config
    from experiments.front.run import Results

COLUMNS = (
    "generation",
    "best_loss",
    "median_loss",
    "log_hypervolume",
    "lowest_density",
    "highest_density",
    "failed",
    "gradient_examples",
    "forward_examples",
    "cost",
    "sequential_steps",
    "seconds",
    "examples_per_second",
)
PUBLISHED = Path(__file__).parents[1] / "data" / "gemonn_published_front.csv"
_SECONDS_BETWEEN_PREVIEWS = 5


def columns(config: Config) -> tuple[str, ...]:
    """Columns of `metrics.csv`, the losses of individuals with names included."""
    names = front_methods.NAMES.get(config.method, ())
    return COLUMNS + tuple(f"loss of {name}" for name in names)


def loss_name(config: Config) -> str:
    """What the loss of the config's model is called."""
    return "MSE" if "autoencoder" in config.model else "cross-entropy"


def preview(config: Config, directory: Path) -> Callable[[Step, float], None]:
    """A function of every step that draws the front as it moves, every few seconds."""
    from experiments.front import figures as front_figures

    first: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    drawn = -float("inf")
    (directory / "figures").mkdir()

    def on_step(step: Step, zero_loss: float) -> None:
        nonlocal drawn
        if not step.info.done or step.phase == "evolved":
            return
        here = step.density, np.asarray(step.info.loss)
        first.setdefault("before evolution", here)
        if time.monotonic() - drawn >= _SECONDS_BETWEEN_PREVIEWS:
            name = f"generation {int(step.info.generation)}"
            front_figures.fronts(
                directory / "figures" / "front.png",
                {**first, name: here},
                loss_name=f"{loss_name(config)} of a batch",
                zero_loss=zero_loss,
                title="The front as it moves",
            )
            drawn = time.monotonic()

    return on_step


def save(results: Results, directory: Path) -> None:
    """Write population, front, figures and, last, the summary: a run that has one is whole."""
    sparse_files.save_population(results.population, directory / "population.safetensors")
    _save_front(results.front, directory / "front.csv")
    _save_front(results.everybody, directory / "population.csv")
    _draw(results, directory / "figures")
    write_text(directory / "summary.json", json.dumps(results.summary, indent=2) + "\n")


def load_front(path: Path) -> Front:
    """Read a front or a population; InputError where the file is none."""
    try:
        found = files.read_columns(path, Front._fields)
        columns = {name: np.array(values) for name, values in found.items()}
        front = Front(**{"test_accuracy": None, **columns})
        if not (len(front.density) and ((front.density >= 0) & (front.density <= 1)).all()):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise InputError(f"{path} must be a readable front of a finished run") from None
    return front


def table(results: Results, directory: Path) -> None:
    """Print what a person wants to know first, on stdout."""
    summary = results.summary
    title = f"{summary['method']}, {summary['model']} on {summary['dataset']}"
    view = Table(title=title, show_header=False)
    lines = {
        "log hypervolume": f"{summary['log_hypervolume']:.3f}",
        "networks of the front": f"{summary['front_size']}",
    }
    for name in ("knee", "best"):
        text = f"density {summary[f'{name}_density']:.3g}, "
        text += f"{loss_name(results.config)} {summary[f'{name}_test_loss']:.4f} on test images"
        if f"{name}_test_accuracy" in summary:
            text += f", {summary[f'{name}_test_accuracy']:.2%} right"
        lines[name] = text
    lines |= {
        "cost": f"{summary['cost']:,.0f} gradient examples",
        "sequential steps": f"{summary['sequential_steps']:,}",
        "time": f"{summary['seconds']:.0f} s",
        "written to": printable(directory),
    }
    for name, value in lines.items():
        view.add_row(name, value)
    show(view)


def published() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Density and training MSE of the published figure on MNIST, by algorithm."""
    points: dict[str, list[tuple[float, float]]] = {}
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            point = float(row["density"]), float(row["mse"])
            points.setdefault(row["algorithm"], []).append(point)
    return {name: tuple(np.array(values).T) for name, values in points.items()}


def _save_front(front: Front, path: Path) -> None:
    columns = {name: values for name, values in front._asdict().items() if values is not None}
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(map(float, values) for values in columns.values()), strict=True))


def _draw(results: Results, directory: Path) -> None:
    from experiments.front import figures as front_figures

    directory.mkdir(exist_ok=True)
    config, summary = results.config, results.summary
    zero_loss, loss = summary["zero_loss"], loss_name(config)
    scores = {name: log_hypervolume(*points, zero_loss) for name, points in results.stages.items()}
    front_figures.fronts(
        directory / "front.png",
        results.stages,
        loss_name=f"{loss} on training images",
        zero_loss=zero_loss,
        scores=scores,
        title=f"The front of {summary['method']} on {summary['dataset']}",
    )
    rows = results.rows
    if rows:
        generations = np.array([row["generation"] for row in rows])
        best = np.array([row["best_loss"] for row in rows])
        front_figures.decline(
            directory / "loss.png",
            {"best network": (generations, best)},
            x_name="generation",
            loss_name=f"{loss} on the generation's batch",
        )
        score = np.array([row["log_hypervolume"] for row in rows])
        front_figures.hypervolumes(directory / "hypervolume.png", generations, score)
    kernels = {generation: _kernel(params) for generation, params in results.snapshots.items()}
    shape = results.dataset.test_images.shape[1:]
    if all(len(kernel) == np.prod(shape) for kernel in kernels.values()):
        front_figures.mosaic(directory / "weights.png", kernels, shape)
    front_figures.connections(directory / "connections.png", kernels)
    if results.network.reconstruct:
        _, firsts = np.unique(results.dataset.test_labels, return_index=True)
        originals = results.dataset.test_images[firsts].reshape(len(firsts), -1)
        reconstruct = jax.jit(results.network.reconstruct)
        copies = {
            generation: np.asarray(reconstruct(params, originals))
            for generation, params in results.snapshots.items()
        }
        labels = [str(label) for label in results.dataset.test_labels[firsts]]
        front_figures.evolved_reconstructions(
            directory / "reconstructions.png", originals, copies, shape, labels
        )


def _kernel(params: dict[str, Any]) -> np.ndarray:
    """The largest matrix of a network."""
    matrices = [leaf for leaf in sparse_files.dense(params).values() if leaf.ndim == 2]
    return max(matrices, key=np.size)
