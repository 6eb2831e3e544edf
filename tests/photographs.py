"""Synthetic photographs of handwritten digits, each with one thing that makes reading harder."""

from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

from experiments.datasets.catalog import load

SINGLE = (
    "clean",
    "soft shadow",
    "hard shadow",
    "vignette",
    "squared",
    "lined",
    "desk",
    "noise",
    "colour cast",
    "rotated",
)
"""The kinds of photographs that show one digit."""

_SHAPE = (360, 480)


@cache
def data():
    """The digits that are photographed are in the test part."""
    return load("mnist5k")


def photographs(kind, count, seed, shape=_SHAPE):
    """`count` photographs, uint8 [H, W, 3], and the place of each one's first digit in the data."""
    random = np.random.default_rng([seed, *kind.encode()])
    chosen = random.choice(len(data().test_labels), (count, 2), replace=False)
    drawn = data().test_images[..., 0]
    pictures = [photograph(drawn[pair], kind, random, shape) for pair in chosen]
    return pictures, chosen[:, 0]


def photograph(digits, kind, random, shape=_SHAPE):
    """The first of the uint8 [N, 28, 28] `digits`, two for "two digits", in dark ink on paper."""
    digits = digits[: 2 if kind == "two digits" else 1]
    ink = _written(digits, random.uniform(-12, 12) if kind == "rotated" else 0, random, shape)
    paper = np.full(shape, random.uniform(200, 240))
    if kind in ("squared", "lined"):
        paper *= 1 - random.uniform(0.2, 0.5) * _lines(kind, random, shape)
    scene = paper * (1 - random.uniform(0.65, 0.9) * ink)
    if kind == "desk":
        scene = np.where(_sheet(random, shape), scene, _desk(random, shape))
    if kind == "clean":
        return np.repeat(scene.astype(np.uint8)[..., None], 3, axis=2)
    scene = ndimage.gaussian_filter(scene * _light(kind, random, shape), 0.8)[..., None]
    tint = random.uniform(0.5, 1, 3) if kind == "colour cast" else np.ones(3)
    noise = random.normal(0, 18 if kind == "noise" else 3, (*shape, 3))
    return (scene * tint + noise).clip(0, 255).astype(np.uint8)


def _written(digits, angle, random, shape):
    """How much ink there is, from 0 to 1, of digits side by side near the middle."""
    side = round(shape[0] * random.uniform(0.4, 0.55))  # of the 28 pixels of MNIST
    row = np.zeros((side, side * len(digits)))
    for place, digit in enumerate(digits):
        large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
        row[:, place * side : (place + 1) * side] = np.asarray(large) / 255
    row = ndimage.rotate(row, angle, reshape=False, order=1)
    ink = np.zeros(shape)
    room = np.subtract(shape, row.shape)
    top, left = (room * random.uniform(0.35, 0.65, 2)).astype(int)
    ink[top : top + row.shape[0], left : left + row.shape[1]] = row
    return 1 / (1 + np.exp((0.45 - ink) / 0.06))


def _lines(kind, random, shape):
    """1 on the lines of the paper, which is turned a little, else 0."""
    down, across = _turned(random.uniform(-4, 4), shape)
    spacing, width = shape[0] / random.uniform(10, 16), max(1.5, shape[0] / 200)
    on_line = (down + random.uniform(0, spacing)) % spacing < width
    return on_line | (across % spacing < width) if kind == "squared" else on_line


def _sheet(random, shape):
    """Where the sheet is, turned a little, with the table on all sides of it."""
    down, across = _turned(random.uniform(-8, 8), shape)
    height, width = np.array(shape) * random.uniform(0.68, 0.78, 2)
    return (np.abs(down) < height / 2) & (np.abs(across) < width / 2)


def _desk(random, shape):
    """A dark table with a grain."""
    grain = ndimage.gaussian_filter(random.normal(0, 60, shape), (1, 12))
    return random.uniform(40, 90) + grain


def _light(kind, random, shape):
    """The share of the light that reaches each pixel."""
    down, across = _turned(random.uniform(0, 360), shape)
    if kind == "vignette":
        return 1 - 0.8 * (down**2 + across**2) / (down**2 + across**2).max()
    softness = {"soft shadow": 0.06, "hard shadow": 0.002}.get(kind)
    if softness is None:
        return 1 - random.uniform(0, 0.2) * (across / max(shape) + 0.5)
    edge = (across / max(shape) + random.uniform(-0.08, 0.08)) / softness
    return 1 - random.uniform(0.45, 0.65) / (1 + np.exp(edge.clip(-50, 50)))


def _turned(angle, shape):
    """Coordinates down and across from the middle of the picture, in a frame that is turned."""
    down, across = np.indices(shape) - np.reshape(np.array(shape) / 2, (2, 1, 1))
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return cosine * down - sine * across, sine * down + cosine * across
