"""The ink of a digit, told from the paper and from all else that a picture shows."""

from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from experiments.datasets import paper
from experiments.running.cli import InputError

Invert = Literal["auto", "yes", "no"]

_FAINTEST = 12.0  # grey levels by which a stroke must stand out
_LOW_CONTRAST = 30.0  # grey levels below which a stroke may be anything
_SMALLEST = 0.08  # of the picture's longer side: what ink must span to be preferred
_THICKEST = 0.15  # of the picture's shorter side: half the width of a stroke


class Ink(NamedTuple):
    """How much ink each pixel of [H, W] holds, from 0 to 1, and the reasons to doubt it."""

    coverage: np.ndarray
    doubts: list[str]


def find(image: np.ndarray, invert: Invert, name: str) -> Ink:
    """The ink of the digit in a float32 [H, W], exactly 0 off the strokes.

    Raises InputError, calling the picture `name`, where no stroke stands out.
    """
    relief, noise = _relief(image, invert)
    # Averages of 3 x 3 keep lone specks from passing for strokes.
    smooth = ndimage.uniform_filter(relief, 3)
    peak = float(smooth.max())
    # Faint pixels count only where they touch strong ones, as the soft edges of strokes do.
    faint = relief > max(0.2 * peak, 3 * noise)
    strong = faint & (smooth > 0.5 * peak)
    if peak < max(_FAINTEST, 4 * noise) or not strong.any():
        raise InputError(f"{name} shows no digit: no stroke stands out from the background")
    strokes, doubts = _digit(ndimage.binary_propagation(strong, mask=faint))
    if peak < max(_LOW_CONTRAST, 6 * noise):
        doubts.append("the ink hardly stands out from the paper")
    full = float(np.percentile(relief[strokes], 80))
    coverage = np.where(strokes, np.clip(relief / full, 0, 1), 0).astype(np.float32)
    return Ink(coverage, doubts)


def _relief(image: np.ndarray, invert: Invert) -> tuple[np.ndarray, float]:
    """Grey levels by which each pixel stands out from the paper, and those that noise explains."""
    level = _drawn_level(image)
    cropped = paper.sheet(image) if invert != "no" else None
    if cropped is not None:
        image, level = cropped, _drawn_level(cropped)
    dark = _is_dark(image, level, invert) if cropped is None else True
    calm = ndimage.median_filter(image, 3)
    noise = 1.5 * float(np.median(np.abs(image - calm)))
    if level is not None:
        if invert != "auto" and dark != _is_dark(image, level, "auto"):
            # The strokes asked for cover most of the picture: their ground is the other extreme.
            level = float(np.percentile(image, 99 if dark else 1))
        relief = level - image if dark else image - level
    else:
        image, calm = (image, calm) if dark else (255 - image, 255 - calm)
        ground = paper.light(calm, max(5, min(image.shape) // 4) | 1)
        # Ink in the shade differs from its paper by fewer grey levels, but by the same factor.
        bright = float(np.percentile(ground, 95))
        relief = (ground - image) * (bright / np.maximum(ground, 0.2 * bright) if dark else 1)
    return paper.without_lines(relief, max(_FAINTEST / 2, noise)), noise


def _is_dark(image: np.ndarray, level: float | None, invert: Invert) -> bool:
    """Whether the ink is darker than its paper."""
    if invert != "auto":
        return invert == "yes"
    if level is not None:
        return bool(np.mean((image - level) ** 3) < 0)
    step = -(-max(image.shape) // 256)
    image = ndimage.median_filter(ndimage.uniform_filter(image, step)[::step, ::step], 3)
    return _narrow_depth(image) > _narrow_depth(255 - image)


def _narrow_depth(image: np.ndarray) -> float:
    """How deep what is darker than its neighbourhood is, the more the narrower it is.

    Strokes are narrower than the paper between them, and shadows than neither.
    """
    windows = {share: max(3, min(image.shape) // share) for share in (24, 16, 12, 8, 6, 4)}
    return sum(
        share * float(np.mean((paper.light(image, window) - image) ** 2))
        for share, window in windows.items()
    )


def _drawn_level(image: np.ndarray) -> float | None:
    """The one level of the paper where the picture is drawn or scanned; None in a photograph.

    Pixels weigh more the nearer they are to the border, where a digit seldom covers much.
    """
    step = -(-max(image.shape) // 128)
    sample = image[::step, ::step]
    rows, columns = np.mgrid[: sample.shape[0], : sample.shape[1]]
    border = np.minimum(np.minimum(rows, rows[::-1]), np.minimum(columns, columns[:, ::-1]))
    nearness = 1 / (1 + border)
    levels = np.bincount(np.rint(sample).astype(int).ravel(), nearness.ravel(), minlength=256)
    shares = np.convolve(levels / nearness.sum(), np.ones(3), "same")
    most = int(shares.argmax())
    nearby = levels[max(0, most - 4) : most + 5].sum() / nearness.sum()
    # The levels of a photograph spread further, by its noise and its light.
    if shares[most] < max(0.3, 0.7 * nearby):
        return None
    level = float(np.median(sample[np.abs(sample - most) <= 1.5]))
    others = sample[np.abs(sample - level) > 4] - level
    return None if others.size and _has_shadow(others) else level


def _has_shadow(differences: np.ndarray) -> bool:
    """Whether such differences from the commonest level are more than those of ink of one kind."""
    if differences.mean() < 0:
        differences = -differences
    # A shadow, or the light beside it, is nearer to that level than the ink, or on its other side.
    nearer = np.median(differences) < 0.95 * np.percentile(differences, 99)
    return bool(nearer or np.mean(differences < 0) > 0.02)


def _digit(strokes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The part of bool [H, W] `strokes` that is the digit, and the reasons to doubt it."""
    labels = paper.pieces(strokes)
    sizes = np.bincount(labels.ravel())[1:]
    boxes = np.array([[(s.start, s.stop) for s in box] for box in ndimage.find_objects(labels)])
    spans = np.ptp(boxes, axis=2)  # [N, 2], heights and widths
    cut = ((boxes[:, :, 0] == 0) | (boxes[:, :, 1] == strokes.shape)).any(axis=1)
    depth = np.asarray(ndimage.distance_transform_edt(strokes))
    thickness = np.asarray(ndimage.maximum(depth, labels, np.arange(1, len(sizes) + 1)))
    wanted = ~cut & (thickness < _THICKEST * min(strokes.shape))
    if spans[wanted].max(initial=0) < _SMALLEST * max(strokes.shape):
        wanted[:] = True
    sizes = np.where(wanted, sizes, 0)
    kept = sizes >= sizes.max() / 50
    doubts = ["the ink touches the border of the picture"] if cut[kept].any() else []
    if _are_several(boxes[kept], spans[kept]):
        doubts.append("there seems to be more than one digit")
    return np.append(False, kept)[labels], doubts


def _are_several(boxes: np.ndarray, spans: np.ndarray) -> bool:
    """Whether pieces in such boxes, [N, 2, 2], stand side by side or above one another."""
    height, width = np.ptp(boxes, axis=(0, 2))
    large = boxes[spans[:, 0] > 0.5 * spans[:, 0].max()]
    for axis in (0, 1):
        starts, stops = large[large[:, axis, 0].argsort(), axis].T
        if (starts[1:] > np.maximum.accumulate(stops)[:-1]).any():
            return True
    return bool(width > 1.6 * height)
