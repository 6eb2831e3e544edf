"""The style of all figures, a canvas written as PNG, and images at exact pixels.

Importing this module imports matplotlib.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from experiments.running.run_directory import write_bytes
from gajax.plotting import BLUE as BLUE
from gajax.plotting import DARK as DARK
from gajax.plotting import GREY as GREY
from gajax.plotting import RED as RED
from gajax.plotting import STYLE

Shape = tuple[int, int, int]

_DPI = 150


@contextmanager
def canvas(path: Path, width: int, height: int, **options: Any) -> Iterator[Figure]:
    """Yield a figure of width x height pixels in the common style; write it to `path` on exit."""
    # "default" overrides the user's matplotlib settings.
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, **options)
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
        write_bytes(path, content.getvalue())


def to_images(values: np.ndarray, shape: Shape) -> np.ndarray:
    """Convert uint8 or float [K, H W C] to float [K, H, W, 3] in [0, 1]."""
    scale = 255 if values.dtype == np.uint8 else 1
    images = np.clip(np.nan_to_num(np.asarray(values, np.float64) / scale), 0, 1)
    return np.broadcast_to(images.reshape(-1, *shape), (len(values), *shape[:2], 3))


def draw_image(figure: Figure, x: int, y: int, image: np.ndarray, zoom: int) -> None:
    """Draw `image` [H, W, 3] enlarged by `zoom`, with its top left corner at pixel (x, y)."""
    enlarged = np.rint(255 * image).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
    bottom = round(figure.bbox.height) - y - len(enlarged)
    figure.figimage(enlarged, x, bottom, origin="upper")


def draw_text(figure: Figure, x: float, y: float, text: str, **font: Any) -> None:
    """Draw `text` at pixel (x, y) from the top left, horizontally centred by default."""
    width, height = figure.bbox.size
    figure.text(x / width, 1 - y / height, text, **{"ha": "center", "va": "top", **font})
