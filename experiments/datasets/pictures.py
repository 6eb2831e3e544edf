"""Conversion of pictures of digits to images like those of MNIST."""

import io
import os
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.datasets import ink
from experiments.running import files
from experiments.running.cli import InputError

_MAX_PIXELS = 50_000_000
_MAX_BYTES = 50_000_000
_MAX_SCANS = 50
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # a JPEG segment with a length field
_SIDE = 28  # of an MNIST image
_BOX = 20  # the longer side of an MNIST digit
_CENTRE = 14  # pixel index of the centre of mass in MNIST, up to half a pixel
_WORKING_SIDE = 1024  # finer detail would be lost at 20 pixels


def read_image(path: Path) -> np.ndarray:
    """Read a PNG or JPEG of any size and mode as grey uint8 [H, W]; raises InputError."""
    return np.asarray(_read(path, "L"))


def fit_plain(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read a picture resized to uint8 `shape` (H, W, C), grey or RGB; raises InputError."""
    height, width, channels = shape
    image = _read(path, "RGB" if channels == 3 else "L")
    resized = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(shape)


def fit_digit(
    image: np.ndarray, *, invert: ink.Invert = "auto", name: str = "the picture"
) -> np.ndarray:
    """Convert a grey uint8 [H, W] to an MNIST-like light digit on black, uint8 [28, 28].

    `invert` says whether the strokes are darker than their background; "auto" detects it.
    Raises InputError, which calls the picture `name`, if no stroke stands out.
    """
    return prepare_digit(image, invert=invert, name=name)[0]


def prepare_digit(
    image: np.ndarray, *, invert: ink.Invert = "auto", name: str = "the picture"
) -> tuple[np.ndarray, str | None]:
    """Return what `fit_digit` does, and a sentence if the picture is doubtful, else None."""
    # Resampling and thresholds would blur an image that already has the format of MNIST.
    if invert != "yes" and _is_fitted(image):
        return image.copy(), None
    coverage, doubts = ink.find(_shrink(image.astype(np.float32)), invert, name)
    rows, columns = (np.flatnonzero(coverage.any(axis=axis)) for axis in (1, 0))
    coverage = coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(side * _BOX / max(coverage.shape))) for side in coverage.shape)
    digit = np.asarray(Image.fromarray(coverage).resize((width, height), Image.Resampling.HAMMING))
    digit = digit * (255 / digit.max())  # thin strokes fade when shrunk, and MNIST has none faint
    warning = f"{name} is doubtful: {' and '.join(doubts)}" if doubts else None
    return _centred(np.clip(np.rint(digit), 0, 255).astype(np.uint8)), warning


def _read(path: Path, mode: Literal["L", "RGB"]) -> Image.Image:
    """Read the picture, upright, in 8 bits and on a plain background where transparent."""
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file: give a PNG or JPEG picture")
    too_large = f"{path} is too large: give a picture of at most {_MAX_PIXELS // 10**6} megapixels"
    try:
        content = files.read(path, _MAX_BYTES)
        _require_readable(content)
        if _has_many_scans(content):
            raise ValueError(f"it has more than {_MAX_SCANS} scans")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about sizes that are rejected below
            with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise InputError(too_large)
                return _opaque(_eight_bit(ImageOps.exif_transpose(image)), mode)
    except Image.DecompressionBombError:
        raise InputError(too_large) from None
    except UnidentifiedImageError:  # whose text is for programmers
        raise InputError(
            f"{path} cannot be read as a PNG or JPEG picture: it is damaged; give an intact copy"
        ) from None
    except InputError:
        raise
    except Exception as error:  # Pillow raises exceptions of any class for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as a PNG or JPEG picture: {reason}") from error


def _require_readable(content: bytes) -> None:
    """ValueError, which says what to do, where it starts like neither a PNG nor a JPEG file."""
    if not content:
        raise ValueError("it is empty; give a file that holds a picture")
    if content.startswith((b"\x89PNG", b"\xff\xd8")):
        return
    brand = content[8:12]
    if content[4:8] == b"ftyp" and brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif"):
        kind = "an AVIF" if brand == b"avif" else "a HEIC"
    elif content.startswith(b"RIFF") and brand == b"WEBP":
        kind = "a WebP"
    else:
        raise ValueError("it is of another kind; convert it to PNG or JPEG")
    raise ValueError(f"it is {kind} picture; convert it to PNG or JPEG")


def _has_many_scans(content: bytes) -> bool:
    """Whether it is a JPEG with so many scans that decoding would take too long."""
    position, scans = 2, 0
    while content.startswith(b"\xff\xd8") and (found := _MARKER.search(content, position)):
        if found[0] == b"\xff\xd9" or scans > _MAX_SCANS:
            break
        scans += found[0] == b"\xff\xda"
        position = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    return scans > _MAX_SCANS


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey levels, which Pillow would clip, to 8 bits."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))


def _opaque(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    """Convert to `mode`; transparent pixels get the visible background or contrast with the ink."""
    if not image.has_transparency_data:
        return image.convert(mode)
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    visible = np.asarray(image.convert("L"))[np.asarray(alpha) > 127]
    if visible.size == 0:
        ground = 0
    elif visible.size > 0.5 * alpha.width * alpha.height and np.ptp(visible) > 64:
        ground = int(np.median(visible))
    else:
        ground = 255 if visible.mean() < 128 else 0
    ground_image = Image.new("RGB", image.size, (ground, ground, ground))
    ground_image.paste(image, mask=alpha)
    return ground_image.convert(mode)


def _is_fitted(image: np.ndarray) -> bool:
    """Whether `image` has the size and position of an MNIST digit."""
    if image.shape != (_SIDE, _SIDE) or not image.any():
        return False
    longer = max(int(np.ptp(indices)) + 1 for indices in np.nonzero(image))
    off_centre = float(np.abs(_centre_of_mass(image) - _CENTRE).max())
    return _BOX - 1 <= longer <= _BOX and off_centre < 0.55


def _shrink(image: np.ndarray) -> np.ndarray:
    """Average `image` over blocks so that no side exceeds the working size."""
    factor = -(-max(image.shape) // _WORKING_SIDE)
    return np.asarray(Image.fromarray(image).reduce(factor)) if factor > 1 else image


def _centred(digit: np.ndarray) -> np.ndarray:
    """Centre the uint8 `digit` of at most 20 x 20 by mass in a black 28 x 28 image."""
    room = _SIDE - np.array(digit.shape)
    top, left = np.clip(np.rint(_CENTRE - _centre_of_mass(digit)).astype(int), 0, room)
    image = np.zeros((_SIDE, _SIDE), np.uint8)
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image


def _centre_of_mass(image: np.ndarray) -> np.ndarray:
    """Row and column of the centre of mass of [H, W]."""
    return np.array([np.average(index, weights=image) for index in np.indices(image.shape)])
