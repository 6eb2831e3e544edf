"""What every picture must be."""

import numpy as np
from PIL import Image


def check(path):
    """The pixels of a picture that is of a reasonable size and not blank."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert max(image.info["dpi"]) >= 144
        drawn = np.asarray(image.convert("RGB"))
    height, width, _ = drawn.shape
    assert 200 <= height <= 3000 and 300 <= width <= 2000
    assert path.stat().st_size < 3_000_000
    assert np.count_nonzero(np.bincount(drawn.ravel())) > 10
    for edge in (drawn[:3], drawn[-3:], drawn[:, :3], drawn[:, -3:]):
        assert edge.min() == 255, "nothing is cut off"
    return drawn
