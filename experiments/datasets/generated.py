"""Images generated from digits and photographs, as in Larochelle et al., ICML 2007.

All functions process whole sets and are deterministic for a given seed. Images are uint8
[N, H, W], with H = W = 28 unless given.
"""

from collections.abc import Callable

import numpy as np

PUBLISHED = {
    "mnist_basic": (12_000, 50_000),
    "mnist_rotated": (12_000, 50_000),
    "mnist_background_random": (12_000, 50_000),
    "mnist_background_images": (12_000, 50_000),
    "mnist_background_images_rotated": (12_000, 50_000),
    "rectangles": (1_200, 50_000),
    "rectangles_images": (12_000, 50_000),
    "convex": (8_000, 50_000),
}
"""Published numbers of training and test images of each set."""

SIDE = 28
_HALF_PLANES = 8
_CHUNK_SIZE = 4_096
"""Images that are processed at once, to limit the memory of temporary arrays."""

_MIN_DEVIATION = 16.0
"""Least standard deviation of the pixels of a patch, which excludes blank ones."""

Random = np.random.RandomState
"""The legacy generator, whose stream NumPy guarantees."""

Split = tuple[np.ndarray, np.ndarray]
"""Images [N, H, W] and labels int32 [N]."""


def make(
    name: str, sizes: tuple[int, int], train: Split, test: Split, seed: int = 0
) -> list[Split]:
    """Generate the training and test images of a set; `sizes` are their numbers.

    For sets of digits, the training digits are from `train`, and the test digits from `test` and
    the rest of `train`; the other sets do not use them.
    """
    random = Random([seed, [*PUBLISHED].index(name)])
    count = sum(sizes)
    if name.startswith("mnist"):
        images, labels = _digits(random, sizes, train, test)
        if name.endswith("rotated"):
            images = rotated(images, random.uniform(0, 2 * np.pi, count))
        if "background" in name:
            is_noise = name.endswith("random")
            behind = noise(random, images.shape) if is_noise else patches(random, count)
            images = on_background(images, behind)
    elif name == "convex":
        images, labels = convex(random, count)
    else:
        pieces = [patches(random, count) for _ in range(2)] if name.endswith("images") else []
        images, labels = rectangles(random, count, *pieces)
    cut = sizes[0]
    return [(images[:cut], labels[:cut]), (images[cut:], labels[cut:])]


def _digits(random: Random, sizes: tuple[int, int], train: Split, test: Split) -> Split:
    """Draw training digits, then test digits from the remaining ones."""
    order = random.permutation(len(train[0]))
    learned, others = order[: sizes[0]], order[sizes[0] :]
    remaining = [
        np.concatenate([tested, trained[others]])
        for trained, tested in zip(train, test, strict=True)
    ]
    chosen = random.permutation(len(remaining[0]))[: sizes[1]]
    images, labels = (
        np.concatenate([trained[learned], rest[chosen]])
        for trained, rest in zip(train, remaining, strict=True)
    )
    return images, labels


def rotated(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotate each image about its centre by its angle [N], counterclockwise in radians."""
    return _in_chunks(_rotate, images, angles)


def on_background(images: np.ndarray, backgrounds: np.ndarray) -> np.ndarray:
    """Blend the images with backgrounds of the same shape; brightness is opacity."""

    def blend(images: np.ndarray, backgrounds: np.ndarray) -> np.ndarray:
        opacity = images.astype(np.float32) / 255
        return np.rint(images + (1 - opacity) * backgrounds).astype(np.uint8)

    return _in_chunks(blend, images, backgrounds)


def noise(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform pixels from 0 to 255."""
    return random.randint(0, 256, shape, np.uint8)


def patches(random: Random, count: int) -> np.ndarray:
    """Draw `count` 28 x 28 patches, none blank, from the two sample photographs of scikit-learn."""
    from sklearn.datasets import load_sample_images  # late, because few sets need it

    photographs = [gray(image) for image in load_sample_images().images]
    windows = [
        np.lib.stride_tricks.sliding_window_view(photograph, (SIDE, SIDE))
        for photograph in photographs
    ]
    positions = [
        np.argwhere(_deviations(photograph) >= _MIN_DEVIATION) for photograph in photographs
    ]
    chosen = random.randint(0, sum(map(len, positions)), count)
    result = np.empty((count, SIDE, SIDE), np.uint8)
    first = 0
    for views, corners in zip(windows, positions, strict=True):
        here = (chosen >= first) & (chosen < first + len(corners))
        result[here] = views[tuple(corners[chosen[here] - first].T)]
        first += len(corners)
    return result


def rectangles(
    random: Random, count: int, inside: np.ndarray | None = None, behind: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images of a rectangle each, with label 1 if it is wide and 0 if it is tall.

    Its sides differ by at least three pixels. It is a white outline on black or, if both are
    given, filled from `inside` [N, 28, 28] on the background `behind`.
    """
    shorter = random.randint(3, SIDE - 3, count)
    longer = shorter + 3 + (random.random_sample(count) * (SIDE - shorter - 2)).astype(int)
    is_wide = random.randint(0, 2, count)
    height, width = np.where(is_wide, (shorter, longer), (longer, shorter))
    top, left = (
        (random.random_sample(count) * (SIDE - side + 1)).astype(int) for side in (height, width)
    )

    def filled(margin: int) -> np.ndarray:
        rows, columns = (
            (np.arange(SIDE) >= start[:, None] + margin)
            & (np.arange(SIDE) < (start + side)[:, None] - margin)
            for start, side in ((top, height), (left, width))
        )
        return rows[:, :, None] & columns[:, None, :]

    if inside is None or behind is None:
        images = np.where(filled(0) & ~filled(1), np.uint8(255), np.uint8(0))
    else:
        images = np.where(filled(0), inside, behind)
    return images, is_wide.astype(np.int32)


def convex(random: Random, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images of a white region each, with label 1 if it is convex, else 0.

    Convex regions are intersections of half-planes; the others are unions of two to four such
    regions with a gap in some row, column or diagonal.
    """
    is_convex = random.randint(0, 2, count)
    masks = np.empty((count, SIDE, SIDE), bool)
    for kind, parts in ((1, (1, 1)), (0, (2, 4))):
        wanted = np.flatnonzero(is_convex == kind)
        while len(wanted):
            number = random.randint(parts[0], parts[1] + 1, min(len(wanted), _CHUNK_SIZE))
            region = np.zeros((len(number), SIDE, SIDE), bool)
            for part in range(parts[1]):
                region |= _intersection(random, number) & (part < number)[:, None, None]
            area = region.mean((1, 2))
            fits = (area > 0.05) & (area < 0.75) & (has_gap(region) != bool(kind))
            done = wanted[: fits.sum()]
            masks[done] = region[fits][: len(done)]
            wanted = wanted[len(done) :]
    return np.where(masks, np.uint8(255), np.uint8(0)), is_convex.astype(np.int32)


def has_gap(masks: np.ndarray) -> np.ndarray:
    """Whether some row, column or diagonal of each mask [N, 28, 28] has a gap."""
    rows = np.arange(SIDE)
    slanted = []
    for columns in (rows, rows[::-1]):
        sheared = np.zeros((len(masks), SIDE, 2 * SIDE - 1), bool)
        sheared[:, rows[:, None], rows[:, None] + columns[None, :]] = masks
        slanted.append(sheared)
    found = np.zeros(len(masks), bool)
    for lines in (masks, masks.swapaxes(1, 2), *slanted):
        before = np.maximum.accumulate(lines, axis=1)
        after = np.maximum.accumulate(lines[:, ::-1], axis=1)[:, ::-1]
        found |= (before & after & ~lines).any((1, 2))
    return found


def _intersection(random: Random, parts: np.ndarray) -> np.ndarray:
    """Intersect half-planes around a random point; the more parts, the smaller the region."""
    count = len(parts)
    middle = random.uniform(2, SIDE - 3, (count, 1, 2))
    angles = random.uniform(0, 2 * np.pi, (count, _HALF_PLANES))
    reach = random.uniform(3, 14, (count, _HALF_PLANES)) / np.sqrt(parts)[:, None]
    used = np.arange(_HALF_PLANES) < random.randint(3, _HALF_PLANES + 1, count)[:, None]
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    limits = np.where(used, (normals * middle).sum(-1) + reach, np.inf)
    masks = np.ones((count, SIDE, SIDE), bool)
    positions = np.arange(SIDE)
    for plane in range(_HALF_PLANES):
        along, across = (normals[:, plane, axis, None] * positions for axis in (0, 1))
        masks &= along[:, :, None] + across[:, None, :] <= limits[:, plane, None, None]
    return masks


def _rotate(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    count, height, width = images.shape
    # Pad with black, because pixels outside the image are clipped to the border.
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    down, right = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    cosine, sine = (function(angles)[:, None, None] for function in (np.cos, np.sin))
    row = cosine * down[:, None] + sine * right + (height - 1) / 2 + 1
    column = cosine * right - sine * down[:, None] + (width - 1) / 2 + 1
    row, column = row.clip(0, height + 1), column.clip(0, width + 1)
    above, before = np.floor(row).astype(int), np.floor(column).astype(int)
    above, before = np.minimum(above, height), np.minimum(before, width)
    part_row, part_column = row - above, column - before
    index = np.arange(count)[:, None, None]
    turned = np.zeros(images.shape)
    for below in (0, 1):
        for after in (0, 1):
            share_row = part_row if below else 1 - part_row
            share_column = part_column if after else 1 - part_column
            turned += share_row * share_column * framed[index, above + below, before + after]
    return np.rint(turned).astype(np.uint8)


def gray(image: np.ndarray) -> np.ndarray:
    """Convert an image uint8 [..., 3] to its luminance (ITU-R BT.601)."""
    return np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def _deviations(photograph: np.ndarray) -> np.ndarray:
    """Standard deviation of every 28 x 28 patch, by summed-area tables."""

    def means(values: np.ndarray) -> np.ndarray:
        total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        ends, starts = slice(SIDE, None), slice(None, -SIDE)
        inner = total[ends, ends] - total[starts, ends] - total[ends, starts]
        return (inner + total[starts, starts]) / SIDE**2

    values = photograph.astype(np.float64)
    return np.sqrt(np.maximum(0, means(values**2) - means(values) ** 2))


def _in_chunks(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    starts = range(0, len(arrays[0]), _CHUNK_SIZE)
    return np.concatenate(
        [function(*(array[start : start + _CHUNK_SIZE] for array in arrays)) for start in starts]
    )
