"""Classify pictures of digits by the model of a finished run."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from experiments.autoencoder.checks import check
from experiments.autoencoder.config import PRESETS, Config
from experiments.autoencoder.rows import SUMMARY
from experiments.running import run_directory
from experiments.running.cli import (
    CommandParser,
    InputError,
    nonempty_path,
    printable,
    require,
    show,
)
from experiments.running.parsing import load_config

if TYPE_CHECKING:
    from experiments.datasets.ink import Invert

SHAPES = {"cifar10": (32, 32, 3), "cifar10_gray": (32, 32, 1)}
"""Height, width and channels of the images of a data set; by default (28, 28, 1)."""


def predict(
    run: Path, paths: list[Path], out: Path | None = None, invert: "Invert" = "auto"
) -> list[dict[str, Any]]:
    """Classify pictures, and draw each with its reconstruction in `out`.

    `out` is by default the folder `predictions` of the run. Returns a dictionary of path, digit,
    margin, reconstruction and warning for each picture. The margin is the difference between the
    two largest decision values; the warning is a sentence if the picture is doubtful, else None.
    InputError if the run or a picture is unreadable.
    """
    run_directory.require_finished(run, "--run", SUMMARY)
    try:
        config = check(load_config(Config, run / "config.json", PRESETS["gajax"]))
    except InputError as error:
        raise InputError(f"--run {run} has an invalid config.json: {error}") from None
    shape = SHAPES.get(config.dataset, (28, 28, 1))
    pixels = math.prod(shape)
    first = config.layers[0]
    require(first == pixels, f"--run {run}", first, f"a run on images of {pixels} pixels")
    out = out or _predictions(run)

    import jax.numpy as jnp

    from experiments.autoencoder import figures, layerwise, report  # late, as in `mnist_ga.train`
    from experiments.autoencoder.methods import autoencoder
    from experiments.autoencoder.svm import predict_with_margins
    from experiments.datasets import pictures

    trained, svm = report.load(run, autoencoder(config))
    if config.dataset.startswith("mnist"):
        prepared = [
            pictures.prepare_digit(pictures.read_image(path), invert=invert, name=str(path))
            for path in paths
        ]
    else:
        prepared = [(pictures.fit_plain(path, shape), None) for path in paths]
    images, doubts = zip(*prepared, strict=True)
    pixels = jnp.asarray(np.stack(images).reshape(len(images), pixels))
    features = np.asarray(layerwise.encode(*trained, pixels))
    restored = np.asarray(layerwise.reconstruct(*trained, pixels))
    if not (np.isfinite(features).all() and np.isfinite(restored).all()):
        raise InputError(f"--run {run} has a model whose outputs are not finite")
    predicted = predict_with_margins(svm, features)
    if not np.isfinite(predicted[1]).all():
        raise InputError(f"--run {run} has an SVM whose decision values are not finite")
    run_directory.make_directory(out)
    predictions = []
    for path, original, back, digit, margin, warning in zip(
        paths, np.asarray(pixels), restored, *predicted, doubts, strict=True
    ):
        with _new_file(out / f"{path.stem}.png") as target:
            figures.pair(target, original, back, shape, f"{digit}, by a margin of {margin:.2f}")
        predictions.append(
            {
                "path": str(path),
                "digit": int(digit),
                "margin": float(margin),
                "reconstruction": str(target),
                "warning": warning,
            }
        )
    return predictions


def main(arguments: list[str]) -> None:
    """Run the command `predict`."""
    parser = CommandParser("python -m experiments.mnist_ga predict", description=__doc__)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG or JPEG files")
    parser.add_argument(
        "--run", required=True, type=Path, metavar="DIR", help="directory of a finished run"
    )
    parser.add_argument("--out", type=nonempty_path, metavar="DIR", help="default: RUN/predictions")
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether the digit is dark on light (default: auto, which detects it)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    predictions = predict(given.run, given.images, given.out, given.invert)
    if given.json:
        print(json.dumps(predictions, indent=2, allow_nan=False))
        return
    table = Table("image", "digit", "margin", "reconstruction")
    for row in predictions:
        names = printable(row["path"]), printable(row["reconstruction"])
        table.add_row(names[0], str(row["digit"]), f"{row['margin']:.2f}", names[1])
    show(table, *(printable(row["warning"]) for row in predictions if row["warning"]))


def _predictions(run: Path) -> Path:
    """The folder `predictions` of the run; InputError if it is a symbolic link."""
    folder = run / "predictions"
    require(
        not folder.is_symlink(),
        "--out",
        folder,
        "given explicitly, because the default folder is a link",
    )
    return folder


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Create the path or its first numbered variant that does not exist, to be overwritten.

    Another process may do the same. An error removes the file.
    """
    number, candidate = 1, path
    while True:
        try:
            candidate.open("xb").close()
            break
        except FileExistsError:
            number += 1
            candidate = path.with_stem(f"{path.stem}-{number}")
    try:
        yield candidate
    except BaseException:
        candidate.unlink(missing_ok=True)
        raise
