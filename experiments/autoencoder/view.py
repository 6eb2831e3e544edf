"""Make a page of a finished run to click on: missed images, reconstructions and features."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.autoencoder.checks import check, load_data
from experiments.autoencoder.config import PRESETS, Config
from experiments.autoencoder.rows import SUMMARY
from experiments.running import viewing
from experiments.running.cli import InputError
from experiments.running.parsing import load_config

if TYPE_CHECKING:
    import gajax.viewing

MOST_DOTS, MOST_MISSED = 2_000, 500
"""Test images in the chart, and missed ones, so that the page stays small."""


def main(arguments: list[str]) -> None:
    """Run the command `view`."""
    status = "classifying the test images"
    viewing.main(arguments, "mnist_ga", __doc__, SUMMARY, page, "view.html", status)


def page(run: Path) -> "gajax.viewing.Page":
    """The page of a finished run; InputError if a file is damaged or its data set is missing."""
    import jax.numpy as jnp
    from sklearn.decomposition import PCA

    import gajax.viewing
    from experiments.autoencoder import layerwise, report
    from experiments.autoencoder.methods import autoencoder
    from experiments.autoencoder.svm import predict_with_margins

    config = check(load_config(Config, run / "config.json", PRESETS["gajax"]))
    dataset = load_data(config)
    trained, svm = report.load(run, autoencoder(config))
    images = dataset.test_images.reshape(len(dataset.test_images), -1)
    features = np.asarray(layerwise.encode(*trained, jnp.asarray(images)))
    if not np.isfinite(features).all():
        raise InputError(f"--run {run} has a model whose outputs are not finite")
    predicted, margins = predict_with_margins(svm, features)
    names = np.union1d(svm.classes_, dataset.test_labels)
    labels, guesses = (np.searchsorted(names, each) for each in (dataset.test_labels, predicted))
    missed = np.flatnonzero(labels != guesses)
    shown = missed[np.argsort(margins[missed], kind="stable")[::-1]][:MOST_MISSED]
    others = np.setdiff1d(np.arange(len(images)), shown)[: max(0, MOST_DOTS - len(shown))]
    kept = np.concatenate([shown, others])
    pca = PCA(min(2, features.shape[1]), random_state=0).fit(features)
    points = pca.transform(features[kept])
    shares = [*pca.explained_variance_ratio_, 0.0][:2]
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    restored = np.asarray(layerwise.reconstruct(*trained, jnp.asarray(images[shown])))
    errors = np.sqrt(np.mean((restored - images[shown] / 255) ** 2, axis=1))
    largest = f", the {len(shown)} of largest margin shown" if len(shown) < len(missed) else ""
    return gajax.viewing.page(
        f"What the SVM missed on {dataset.name}",
        Path(__file__).with_name("view.html"),
        {
            "note": f"{len(missed)} of {len(images)} test images missed{largest}; features in the "
            f"plane of their two principal components, {len(kept)} images",
            "points": np.round(points, 4),
            "shares": shares,
            "labels": labels[kept],
            "names": [str(name) for name in names],
            "shape": dataset.test_images.shape[1:],
            "originals": images[shown],
            "copies": np.uint8(np.rint(255 * np.clip(restored, 0, 1))),
            "missed": [
                {
                    "place": int(place),
                    "label": labels[place],
                    "predicted": guesses[place],
                    "margin": margins[place],
                    "rmse": error,
                }
                for place, error in zip(shown, errors, strict=True)
            ],
        },
    )
