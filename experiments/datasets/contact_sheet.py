"""A contact sheet of a data set: some images of each class."""

from pathlib import Path

import numpy as np

from experiments.datasets.catalog import Dataset
from experiments.reporting.canvas import canvas, draw_image, draw_text, to_images

COLUMNS = 16
"""Number of images of each class."""


def draw(dataset: Dataset, path: Path) -> None:
    """Write a PNG with a labelled row of training images for each class."""
    images, labels = dataset.train_images, dataset.train_labels
    shape, classes = images.shape[1:], np.unique(labels)
    zoom = max(1, 56 // shape[0])
    step, margin, head = shape[0] * zoom + 4, 40, 64
    with canvas(path, 2 * margin + COLUMNS * step, head + len(classes) * step + margin) as figure:
        sizes = f"{len(labels):,} training and {len(dataset.test_labels):,} test images"
        title = f"{dataset.name}: {sizes}"
        draw_text(figure, margin, 24, title, ha="left", size=11, weight="bold")
        for row, label in enumerate(classes):
            top = head + row * step
            draw_text(figure, margin / 2, top + step / 2, str(label), va="center")
            chosen = images[np.flatnonzero(labels == label)[:COLUMNS]]
            for column, image in enumerate(to_images(chosen.reshape(len(chosen), -1), shape)):
                draw_image(figure, margin + column * step, top, image, zoom)
