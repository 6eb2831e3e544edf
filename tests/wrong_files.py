"""What a careless or a malicious person may give where a flag wants a file or a folder."""

import os
import zipfile

import numpy as np
from PIL import Image
from refusals import sparse_file

KINDS = ["empty", "text", "picture", "archive", "pickle", "pipe", "folder", "endless", "huge"]
KINDS += ["missing", "link to itself", "long name", "unicode"]


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
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        sparse_file(path, 3 * 10**8)
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "long name":
        path = folder / ("x" * 5_000)
    elif kind == "unicode":
        path = folder / "\u202e\x1b[31m\udcff.json"
        path.write_text("{")
    return path
