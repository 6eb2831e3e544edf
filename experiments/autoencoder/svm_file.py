"""Saving SVMs by skops, and loading them from untrusted files.

skops trusts more types than an SVM needs, so types are checked before it reads a file. libsvm does
not check the sizes of its arrays, so they are validated and copied into a newly created SVM.
"""

import io
import json
import math
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from sklearn.pipeline import Pipeline

from experiments.autoencoder.svm import make_svm
from experiments.running import files
from experiments.running.run_directory import write_bytes

_NODES = {
    ("ObjectNode", "sklearn.pipeline", "Pipeline"),
    ("ObjectNode", "sklearn.svm._classes", "SVC"),
    ("DictNode", "builtins", "dict"),
    ("ListNode", "builtins", "list"),
    ("TupleNode", "builtins", "tuple"),
    ("JsonNode", "builtins", "str"),
    ("TypeNode", "builtins", "str"),
    ("NdArrayNode", "numpy", "ndarray"),
}
"""Loader, module and class of all nodes in the schema of an SVM."""

_LEAVES = ("JsonNode", "TypeNode", "NdArrayNode")
_CLASSES = 10
_SUPPORT_VECTORS = 100_000
_LIST_BYTES = 2**16
_LARGEST = 1e100
"""Beyond which decision values may overflow."""


def save(svm: Pipeline, path: Path) -> None:
    """Write the SVM."""
    import skops.io

    write_bytes(path, skops.io.dumps(svm))


def load(path: Path, features: int) -> Pipeline:
    """Read an SVM on `features` features; raises exceptions of any class."""
    import skops.io

    largest = 8 * _SUPPORT_VECTORS * (features + 2 * _CLASSES) + files.JSON_BYTES
    content = files.read(path, min(largest, files.NETWORK_BYTES))
    _check(content)
    saved = skops.io.loads(content, trusted=[])
    return _rebuild(vars(saved.steps[0][1]), features)


def _check(content: bytes) -> None:
    """Raise ValueError unless the archive is uncompressed and holds only known types and sizes."""
    # The directory of an archive may list millions of files, and zipfile reads it at once.
    signature, *_, listed, _, comment = struct.unpack("<4s4H2IH", content[-22:])
    if signature != b"PK\5\6" or comment or listed > _LIST_BYTES or content[-42:-38] == b"PK\6\7":
        raise ValueError("it is not a plain archive of a few files")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        is_plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
        if not is_plain or sum(entry.file_size for entry in entries.values()) > len(content):
            raise ValueError("its archive is compressed or has overlapping files")
        if entries.pop("schema.json").file_size > files.JSON_BYTES:
            raise ValueError("its schema.json is too large")
        _check_schema(json.loads(archive.read("schema.json")))
        for name in entries:
            _check_array(name, archive.read(name))


def _check_schema(schema: Any) -> None:
    nodes = [node for node in files.nested_objects(schema) if "__loader__" in node]
    for node in nodes:
        kind = tuple(str(node.get(name)) for name in ("__loader__", "__module__", "__class__"))
        if kind not in _NODES:
            raise ValueError(f"it holds {'.'.join(kind[1:])}, which is not part of an SVM")
    # Nested references to the same lists would take exponential time.
    used = Counter(node.get("__id__") for node in nodes)
    if any(used[node.get("__id__")] > 1 for node in nodes if node["__loader__"] not in _LEAVES):
        raise ValueError("its schema.json refers to itself")


def _check_array(name: str, content: bytes) -> None:
    stream = io.BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is not an array")
    shape, _, dtype = npy.read_array_header_1_0(stream)
    if dtype.kind not in "if" or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"{name} is not a numeric array of the announced size")


def _rebuild(saved: dict[str, Any], features: int) -> Pipeline:
    """Copy the arrays of a saved SVM into a new one; ValueError if they are inconsistent."""
    c, gamma, classes = saved["C"], saved["gamma"], saved["classes_"]
    count, vectors = len(classes), len(saved["support_"])
    pairs = count * (count - 1) // 2
    shapes = {
        "classes_": (count,),
        "support_": (vectors,),
        "support_vectors_": (vectors, features),
        "_n_support": (count,),
        "dual_coef_": (count - 1, vectors),
        "_dual_coef_": (count - 1, vectors),
        "intercept_": (pairs,),
        "_intercept_": (pairs,),
    }
    if not (
        all(isinstance(value, float) and 0 < value <= _LARGEST for value in (c, gamma))
        and {*classes.tolist()} <= {*range(_CLASSES)}
        and count > 1
        and (np.diff(classes) > 0).all()
        and all(saved[name].shape == shape for name, shape in shapes.items())
        and all((np.abs(saved[name].astype(float)) <= _LARGEST).all() for name in shapes)
        and (saved["_n_support"] >= 0).all()
        and saved["_n_support"].sum() == vectors > 0
    ):
        raise ValueError(f"its SVM is inconsistent or not on {features} features")
    # Fit on arbitrary examples, because all fitted arrays are replaced.
    made = make_svm(c, gamma).fit(np.zeros((count, features)), classes)
    fitted = vars(made.named_steps["svm"])
    fitted["shape_fit_"] = tuple(map(int, saved["shape_fit_"]))
    for name in shapes:
        if saved[name].dtype != fitted[name].dtype:
            raise ValueError(f"{name} of its SVM has a wrong type")
        fitted[name] = np.ascontiguousarray(saved[name])
    return made
