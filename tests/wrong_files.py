"""What a careless or a malicious person may give where a flag wants a file or a folder."""

import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from refusals import sparse_file

KINDS = ["empty", "text", "picture", "archive", "pickle", "pipe", "folder", "endless", "huge"]
KINDS += ["missing", "link to itself", "long name", "unicode"]

SPECIAL = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "huge": lambda path: sparse_file(path, 3 * 10**8),
    "nothing": lambda path: None,
}
"""What makes something that is no ordinary file, by its kind."""


def make_wrong(kind, folder):
    """A path of that kind in the folder."""
    path = folder / f"{kind}.json"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("{'layers': [784, 10]}")
    elif kind == "picture":
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(path, "PNG")
    elif kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../config.json", "{}")
    elif kind == "pickle":
        np.array([{}]).dump(path)
    elif kind in SPECIAL:
        SPECIAL[kind](path)
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "long name":
        path = folder / ("x" * 5_000)
    elif kind == "unicode":
        path = folder / "\u202e\x1b[31m\udcff.json"
        path.write_text("{")
    return path
