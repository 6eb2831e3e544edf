"""What a photograph shows besides ink: the light on the paper, its ruled lines and the table."""

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull

_STEEPEST = 0.16  # slope of ruled lines on paper that is turned, about 9 degrees
_COLUMNS = 48  # at which ruled lines are looked for
_RECTANGULAR = 0.87  # of the smallest rectangle around a sheet; an ellipse fills 0.79 of its own


def light(image: np.ndarray, window: int) -> np.ndarray:
    """The light on the paper of a float32 [H, W] with dark ink, the edges of shadows kept.

    A morphological closing removes what is narrower than `window` pixels, as strokes are, and
    leaves shadows and tables, which are wider or reach the border.
    """
    margin = window // 2  # without which a closing flattens what rises from the border
    wide = np.pad(image, margin, mode="edge")
    closed = ndimage.grey_closing(wide, window, mode="nearest")[margin:-margin, margin:-margin]
    # Of noise, the closing takes the highest values nearby.
    return closed - np.median(closed - image)


def sheet(image: np.ndarray) -> np.ndarray | None:
    """The part of float32 [H, W] with a bright sheet on a dark table; None where there is none.

    What of the table is left within the box around the sheet takes the colour of the sheet's edge.
    """
    step = -(-max(image.shape) // 256)
    sample = np.asarray(Image.fromarray(image).reduce(step)) if step > 1 else image
    labels = pieces(ndimage.uniform_filter(sample, 3) > _middle(sample))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    bright = labels == sizes.argmax()
    whole = np.asarray(ndimage.binary_fill_holes(bright))
    border = np.concatenate([whole[0], whole[-1], whole[:, 0], whole[:, -1]])
    holes = 1 - bright.sum() / max(whole.sum(), 1)
    if border.mean() > 0.1 or whole.mean() < 0.1 or not 0.001 < holes < 0.25:
        return None
    if whole.sum() < _RECTANGULAR * _rectangle_around(whole):
        return None
    inside = np.asarray(ndimage.binary_erosion(whole, iterations=3), bool)
    inside = inside.repeat(step, axis=0).repeat(step, axis=1)
    inside = inside[: image.shape[0], : image.shape[1]]
    if not inside.any():
        return None
    box = ndimage.find_objects(inside.astype(np.int8))[0]
    nearest = np.zeros((2, *inside[box].shape), np.int32)
    ndimage.distance_transform_edt(
        ~inside[box], return_distances=False, return_indices=True, indices=nearest
    )
    return image[box][tuple(nearest)]


def pieces(mask: np.ndarray) -> np.ndarray:
    """Numbers int32 from 1 on of the connected pieces of a bool array, 0 where it is False."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, structure=np.ones((3,) * mask.ndim), output=numbers)
    return numbers


def without_lines(relief: np.ndarray, least: float) -> np.ndarray:
    """Depth of ink as float32 [H, W], less lines of at least that depth across all of the paper."""
    return _without_rows(_without_rows(relief, least).T, least).T


def _without_rows(relief: np.ndarray, least: float) -> np.ndarray:
    """`relief` less thin straight parallel lines from its left to its right."""
    height, width = relief.shape
    places = np.linspace(0, width - 1, min(_COLUMNS, width)).astype(int)
    sample = ndimage.uniform_filter1d(relief, 3, axis=1)[:, places]
    # Slopes so close that no line drifts by more than half a pixel from one of them.
    slopes = np.linspace(-_STEEPEST, _STEEPEST, 2 * round(_STEEPEST * width) + 1)
    found = [_thin_lines(sample, places - width // 2, slope) for slope in slopes]
    scores = np.array([np.square(free).sum() for free, _ in found])
    # Thick lines are found at a range of slopes.
    best = int(np.median(np.flatnonzero(scores >= 0.99 * scores.max())))
    free, all_lines = found[best]
    if pieces(ndimage.maximum_filter1d(free > least, 5)).max() < 2:
        return relief  # a single line may be the stroke of a digit
    lines = ndimage.maximum_filter1d(np.where(all_lines > least, all_lines, 0), 5)
    rows = _rows_along(np.arange(width) - width // 2, slopes[best], height)
    # Ink that crosses a line is darker than the line.
    return np.where(relief < 1.6 * lines[rows], 0, relief)


def _thin_lines(
    sample: np.ndarray, places: np.ndarray, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """How dark a line of that slope is from each row of `sample` on: one free of ink, and any.

    Most of a line is dark. Little beside a free one is, unlike beside a bent stroke.
    """
    rows = _rows_along(places, -slope, len(sample))
    ordered = np.sort(np.take_along_axis(sample, rows, axis=0), axis=1)
    dark, beside = (ordered[:, int(share * len(places))] for share in (0.4, 0.8))
    free, thin = (
        profile > 2 * ndimage.grey_opening(profile, max(5, len(sample) // 40))
        for profile in (beside, dark)
    )
    return np.where(free, dark, 0), np.where(thin, dark, 0)


def _rows_along(places: np.ndarray, slope: float, height: int) -> np.ndarray:
    """For each row and place the row at which a line through them meets the middle, int [H, P]."""
    shifts = np.rint(slope * places).astype(int)
    return np.clip(np.arange(height)[:, None] - shifts, 0, height - 1)


def _middle(image: np.ndarray) -> float:
    """The level that best separates bright from dark, by Otsu's method."""
    counts = np.bincount(np.clip(image, 0, 255).astype(np.uint8).ravel(), minlength=256)
    below = np.cumsum(counts) / image.size
    sums = np.cumsum(counts * np.arange(256)) / image.size
    between = (sums[-1] * below - sums) ** 2 / np.maximum(below * (1 - below), 1e-9)
    return float(between.argmax()) + 0.5


def _rectangle_around(mask: np.ndarray) -> float:
    """Pixels of the smallest rectangle of any angle around a bool [H, W]."""
    points = np.argwhere(mask)
    corners = points[ConvexHull(points).vertices]
    angles = np.radians(np.arange(90))
    across = corners @ np.stack([np.cos(angles), np.sin(angles)])
    down = corners @ np.stack([-np.sin(angles), np.cos(angles)])
    return float(((np.ptp(across, axis=0) + 1) * (np.ptp(down, axis=0) + 1)).min())
