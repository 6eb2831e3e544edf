"""Fronts as pages of HTML to click on, without a network. plotly is imported where one is made."""

import base64
import gzip
import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

_HERE = Path(__file__).parent
_UNITS, _LINKS, _SIDE = 64, 100, 256


@dataclass(frozen=True, repr=False)
class Page:
    """A page of HTML that needs no other file; a notebook shows it.

    Attributes:
      text: the whole page.
    """

    text: str

    def __repr__(self) -> str:
        return f"<page of {len(self.text) / 1e6:.1f} MB, shown in notebooks; its HTML is .text>"

    def _repr_html_(self) -> str:
        frame = 'style="width: 100%; height: 760px; border: 0" title="Front"'
        return f'<iframe {frame} srcdoc="{html.escape(self.text)}"></iframe>'


def page(title: str, body: Path, data: Mapping[str, Any]) -> Page:
    """A page with the script of plotly, packed.

    Args:
      title: of the page.
      body: a file with HTML and a script that starts with `await load()`, which loads plotly and
        gives the data, and ends with `await follow(...)`, which draws and listens.
      data: dictionaries, lists, numbers and text; arrays of uint8 and int8 become base64.

    Raises:
      ImportError: where plotly is missing.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ImportError("a page to click on needs `pip install plotly`") from None
    content, script = body.read_text(encoding="utf-8").split("<script>\n")
    # Compressed, plotly takes 2 MB in place of 5.
    pieces = {
        "body": content,
        "script": script.removesuffix("</script>\n"),
        "title": html.escape(title),
        "data": _packed(json.dumps(_plain(data))),
        "plotly": _packed(get_plotlyjs()),
    }
    text = (_HERE / "page.html").read_text(encoding="utf-8")
    for name, piece in pieces.items():
        text = text.replace("{{" + name + "}}", piece)
    return Page(text)


def front_page(title: str, columns: Mapping[str, Any], **parts: Any) -> Page:
    """A page with a front to click on.

    Args:
      title: of the page.
      columns: values of the K networks by name; the first two are the axes.
      parts: what else `front.html` shows: `note` and `zero_loss`; `rivals`, two lists by name;
        `populations`, dictionaries of `generation`, `density` and `loss`, with `populations_note`;
        `commands`, `weights` and `classes` [K]; `class_names`; `pictures`, with `shape`,
        `labels`, `originals` and `copies` [K].

    Raises:
      ImportError: where plotly is missing.
    """
    return page(title, _HERE / "front.html", {"columns": columns, **parts})


def weights(
    name: str, kernel: Float[np.ndarray, "I H"], shape: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """What a page shows of a matrix: images of its densest units, and its largest weights.

    Args:
      name: of the matrix.
      kernel: the weights; those that are not finite count as zeros.
      shape: of the images [H, W, C] that are the input; None shows the upper left of the matrix.
    """
    kernel = np.nan_to_num(np.asarray(kernel, np.float32), posinf=0, neginf=0)
    size = np.abs(kernel)
    limit = float(np.percentile(size[size > 0], 98)) if size.any() else 1.0
    # At least 1 for every nonzero weight, as zeros are left blank.
    levels = np.sign(kernel) * np.clip(np.ceil(127 * size / limit), 0, 127)
    if shape is None:
        tiles = levels[None, :_SIDE, :_SIDE]
    else:
        units = np.argsort(-np.count_nonzero(kernel, axis=0), kind="stable")[:_UNITS]
        tiles = levels[:, units].T.reshape(len(units), *shape)
        largest = np.abs(tiles).argmax(-1)[..., None]
        tiles = np.take_along_axis(tiles, largest, -1)[..., 0]
    order = np.argsort(-size, axis=None, kind="stable")[:_LINKS]
    ends = [(*divmod(int(place), kernel.shape[1]), int(levels.flat[place])) for place in order]
    return {
        "name": name,
        "shape": kernel.shape,
        "count": int(np.count_nonzero(kernel)),
        "limit": limit,
        "tiles": tiles.shape,
        "levels": tiles.astype(np.int8),
        "links": [end for end in ends if end[2]],
        "is_image": shape is not None,
    }


def _plain(value: Any) -> Any:
    """For JSON, which has no numbers that are not finite."""
    if isinstance(value, np.ndarray) and value.dtype.itemsize == 1:
        return base64.b64encode(value.tobytes()).decode()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
