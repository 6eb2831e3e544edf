"""Writing the results of a front, and loading them without executing code from files."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments.front import methods
from experiments.front.config import Config
from experiments.front.measures import Front, Step, log_hypervolume
from experiments.front.results import Results
from experiments.reporting.tables import show_outcome
from experiments.running import files, meter, model_files
from experiments.running.cli import InputError
from experiments.running.run_directory import save_summary, write_text

COLUMNS = (
    "generation",
    "best_loss",
    "median_loss",
    "log_hypervolume",
    "lowest_density",
    "highest_density",
    "failed",
    *meter.COLUMNS,
)
PUBLISHED = Path(__file__).with_name("published_front.csv")
_SECONDS_BETWEEN_PREVIEWS = 5


def columns(config: Config) -> tuple[str, ...]:
    """Columns of `metrics.csv`, including the losses of named individuals."""
    names = methods.NAMES.get(config.method, ())
    return COLUMNS + tuple(f"loss of {name}" for name in names)


def loss_name(config: Config) -> str:
    """Name of the loss of the config's model."""
    return "MSE" if "autoencoder" in config.model else "cross-entropy"


def preview(config: Config, directory: Path) -> Callable[[Step, float], None]:
    """Return a callback for each step that draws the current front every few seconds."""
    from experiments.front import figures  # late: it imports matplotlib

    first: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    drawn = -float("inf")
    (directory / "figures").mkdir(exist_ok=True)  # a resumed run may have it

    def on_step(step: Step, zero_loss: float) -> None:
        nonlocal drawn
        if not step.info.done or step.phase == "evolved":
            return
        current = step.density, np.asarray(step.info.loss)
        first.setdefault("before evolution", current)
        if time.monotonic() - drawn >= _SECONDS_BETWEEN_PREVIEWS:
            name = f"generation {int(step.info.generation)}"
            figures.fronts(
                directory / "figures" / "front.png",
                {**first, name: current},
                loss_name=f"{loss_name(config)} of a batch",
                zero_loss=zero_loss,
                title="The current front",
            )
            drawn = time.monotonic()

    return on_step


def save(results: Results, directory: Path) -> None:
    """Write networks, fronts and figures, and finally the summary, the mark of a finished run."""
    model_files.save_population(results.population, directory / "population.safetensors")
    _save_front(results.front, directory / "front.csv")
    _save_front(results.members, directory / "population.csv")
    kept = json.dumps({"populations": results.populations}) + "\n"
    write_text(directory / "populations.json", kept)
    _draw(results, directory / "figures")
    save_summary(results.summary, directory)


_COLUMNS = {
    "density": files.Range(0, 1),
    "train_loss": files.Range(0),
    "test_loss": files.Range(0),
    "test_accuracy": files.Range(0, 1),
}
_MAY_DIVERGE = {name: files.Range(0, is_finite=False) for name in ("train_loss", "test_loss")}


def load_front(path: Path) -> Front:
    """Load a front, sparsest network first; InputError if the file is damaged."""
    front = _load(path, _COLUMNS)
    if (np.diff(front.density) <= 0).any() or (np.diff(front.train_loss) >= 0).any():
        raise _unreadable(path)
    return front


def load_population(path: Path) -> Front:
    """Load all individuals, some of which may have diverged; InputError if the file is damaged."""
    return _load(path, _COLUMNS | _MAY_DIVERGE)


def _load(path: Path, ranges: dict[str, files.Range]) -> Front:
    try:
        columns = files.read_columns(path, ranges)
        front = Front(**{"test_accuracy": None, **columns})
        if not len(front.density):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise _unreadable(path) from None
    return front


def _unreadable(path: Path) -> InputError:
    return InputError(f"{path} must be a readable front of a finished run")


def table(results: Results, directory: Path) -> None:
    """Print the main results of a run."""
    summary = results.summary
    title = f"{summary['method']}, {summary['model']} on {summary['dataset']}"
    lines = {
        "log hypervolume": f"{summary['log_hypervolume']:.3f}",
        "networks of the front": f"{summary['front_size']}",
    }
    for name in ("knee", "best"):
        text = f"density {summary[f'{name}_density']:.3g}, "
        text += f"{loss_name(results.config)} {summary[f'{name}_test_loss']:.4f} on test images"
        if f"{name}_test_accuracy" in summary:
            text += f", {summary[f'{name}_test_accuracy']:.2%} correct"
        lines[name] = text
    show_outcome(title, lines, summary, directory)


def published() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Density and training MSE by algorithm, as published for MNIST."""
    points: dict[str, list[tuple[float, float]]] = {}
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            point = float(row["density"]), float(row["mse"])
            points.setdefault(row["algorithm"], []).append(point)
    return {name: tuple(np.array(values).T) for name, values in points.items()}


def _save_front(front: Front, path: Path) -> None:
    columns = {name: values for name, values in front._asdict().items() if values is not None}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(float, values) for values in columns.values()), strict=True))
    write_text(path, file.getvalue())


def _draw(results: Results, directory: Path) -> None:
    from experiments.front import figures, weight_figures  # late: they import matplotlib

    directory.mkdir(exist_ok=True)
    config, summary = results.config, results.summary
    zero_loss, loss = summary["zero_loss"], loss_name(config)
    scores = {name: log_hypervolume(*points, zero_loss) for name, points in results.stages.items()}
    figures.fronts(
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
        figures.decline(
            directory / "loss.png",
            {"best network": (generations, best)},
            x_name="generation",
            loss_name=f"{loss} on the generation's batch",
        )
        score = np.array([row["log_hypervolume"] for row in rows])
        figures.hypervolumes(directory / "hypervolume.png", generations, score)
    largest = {
        generation: model_files.largest_matrix(model_files.dense(params))
        for generation, params in results.snapshots.items()
    }
    kernels = {generation: kernel for generation, (_, kernel) in largest.items()}
    name = largest[max(largest)][0]
    shape = results.dataset.test_images.shape[1:]
    is_first = all(len(kernel) == np.prod(shape) for kernel in kernels.values())
    if is_first:
        weight_figures.mosaic(directory / "weights.png", kernels, shape)
    inputs = "pixels" if is_first else "outputs of\nthe layer before"
    weight_figures.connections(directory / "connections.png", kernels, name, inputs)
    if results.network.reconstruct:
        _, firsts = np.unique(results.dataset.test_labels, return_index=True)
        originals = results.dataset.test_images[firsts].reshape(len(firsts), -1)
        reconstruct = jax.jit(results.network.reconstruct)
        copies = {
            generation: np.asarray(reconstruct(params, originals))
            for generation, params in results.snapshots.items()
        }
        labels = [str(label) for label in results.dataset.test_labels[firsts]]
        weight_figures.evolved_reconstructions(
            directory / "reconstructions.png", originals, copies, shape, labels
        )
