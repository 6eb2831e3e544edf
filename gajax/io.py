"""Individuals and populations in files that run no code when they are read."""

import io
import math
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gajax import sharding
from gajax.individual import leaf_paths

_FORMS = ("dense", "bcoo", "csr")
_CODES = "BOOL F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 I8 U64 U32 U16 U8".split()
_TYPES = (
    "bool float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 "
    "int64 int32 int16 int8 uint64 uint32 uint16 uint8"
).split()


def save(
    individual: Any, path: str | os.PathLike, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a tree of arrays, such as an individual, a population or a state, as safetensors.

    The arrays are named by their paths, such as "params/dense/kernel", and keep their shapes, types
    and bits. The file appears whole or not at all, with the permissions of any new file. Metadata
    are stored as strings, which `safetensors.safe_open(path, "numpy").metadata()` reads.

    Raises:
      ValueError: where a leaf is no array, has a type that the format lacks, such as random keys,
        or shares its path with another one.
      ImportError: where safetensors is missing.

    Example:
      >>> import tempfile
      >>> network = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     gajax.save(network, f"{folder}/network.safetensors", {"loss": 0.1})
      ...     loaded = gajax.load(f"{folder}/network.safetensors", like=network)
      >>> loaded["bias"]
      Array([0., 0., 0.], dtype=float32)
    """
    safetensors = _safetensors()
    leaves = _named(individual)
    for name, leaf in leaves.items():
        if leaf.dtype.name not in _TYPES or name == "__metadata__":  # this name is reserved
            types = ", ".join(_TYPES)
            raise ValueError(f"leaf {name!r} must have a type of {types}, not {leaf.dtype.name}")
    texts = {name: str(value) for name, value in (metadata or {}).items()}
    # The library's own `save_file` gives the file the mode 0600.
    _write(safetensors.numpy.save(_on_host(leaves), texts or None), path)


def load(path: str | os.PathLike, like: Any) -> Any:
    """Read a tree that `save` wrote, in the structure of `like`.

    `like` has the shapes and types that the file must have, in arrays or in what `jax.eval_shape`
    gives, such as `jax.eval_shape(init_fn, key)` for an individual and `gajax.state_shapes` for a
    state. The leaves are arrays of JAX where those of `like` are, else of NumPy.

    Raises:
      ValueError: where the file is damaged or no safetensors file, or has other leaves, shapes or
        types than `like`.
      OSError: where there is no such file.
      ImportError: where safetensors is missing.

    Example:
      >>> import tempfile
      >>> shapes = jax.eval_shape(lambda: {"kernel": jnp.ones((2, 3))})
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     gajax.save({"kernel": jnp.ones((2, 3))}, f"{folder}/network.safetensors")
      ...     loaded = gajax.load(f"{folder}/network.safetensors", shapes)
      >>> type(loaded["kernel"]).__name__, loaded["kernel"].shape
      ('ndarray', (2, 3))
    """
    safetensors, expected = _safetensors(), _named(like)
    if os.path.exists(path) and not os.path.isfile(path):  # reading from others may block
        raise ValueError(f"{path} must be a regular file")
    try:  # the header is checked, against the size of the file too, before any array is read
        with safetensors.safe_open(path, "numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}
            found = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    except OSError:
        raise
    except Exception as error:  # of any class where a file is hostile
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged or no safetensors file: {reason}") from None
    if lacking := sorted(expected.keys() - found):
        raise ValueError(f"{path} lacks the leaf {lacking[0]!r}")
    if further := sorted(found.keys() - expected):
        raise ValueError(f"{path} has a leaf that `like` lacks, {further[0]!r}")
    types = dict(zip(_CODES, _TYPES, strict=True))
    for name, leaf in expected.items():
        code, shape = found[name]
        wanted, given = f"{leaf.dtype.name}{list(leaf.shape)}", f"{types.get(code, code)}{shape}"
        if wanted != given:
            raise ValueError(f"leaf {name!r} of {path} must be {wanted}, not {given}")
    content = dict(safetensors.deserialize(Path(path).read_bytes()))

    def read(name: str, leaf: Any) -> Any:
        array = np.frombuffer(content[name]["data"], leaf.dtype.name).reshape(leaf.shape)
        return jax.device_put(array) if isinstance(leaf, jax.Array) else array

    return jax.tree.map(read, leaf_paths(like), like)


def export(individual: Any, path: str | os.PathLike, form: str = "dense") -> None:
    """Write an individual as an archive that NumPy alone reads, without pickle: an .npz file.

    It is read by `file = np.load(path)`, a leaf of it, such as `name = "params/dense/kernel"`, by::

        file[name]                                                        # "dense"
        BCOO((file[f"{name}/data"], file[f"{name}/indices"]),             # "bcoo",
             shape=tuple(file[f"{name}/shape"]))                          # of jax.experimental
        csr_matrix((file[f"{name}/data"], file[f"{name}/indices"],        # "csr",
                    file[f"{name}/indptr"]), file[f"{name}/shape"])       # of scipy.sparse

    Coordinates are those of the entries that are not zero. As "csr" a leaf is the matrix of all its
    axes but the last by its last one, (height * width * in, out) for the kernel of a convolution
    and one row for a bias. Types that NumPy lacks, such as bfloat16, become float32, and so does
    float16 as "csr", because SciPy lacks it.

    ValueError where the form is another, a leaf is no array or shares its path with another one.

    Example:
      >>> import tempfile
      >>> network = {"kernel": jnp.array([[0.0, 2.0], [0.0, 0.0]])}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     gajax.export(network, f"{folder}/network.npz", "bcoo")
      ...     with np.load(f"{folder}/network.npz") as file:
      ...         print(file["kernel/indices"].tolist(), file["kernel/data"].tolist())
      [[0, 1]] [2.0]
    """
    if form not in _FORMS:
        raise ValueError(f"form must be one of {', '.join(_FORMS)}, not {form!r}")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in _on_host(_named(individual)).items():
            if array.dtype.kind == "V" or (form == "csr" and array.dtype == np.float16):
                array = array.astype(np.float32)
            for part, values in _parts(name, array, form).items():
                with archive.open(f"{part}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, values, allow_pickle=False)
    _write(content.getvalue(), path)


def _parts(name: str, array: np.ndarray, form: str) -> dict[str, np.ndarray]:
    """The arrays that a leaf is written as, by their names."""
    if form == "dense":
        return {name: array}
    if form == "csr":
        array = array.reshape(math.prod(array.shape[:-1]), *array.shape[-1:] or (1,))
    indices = np.argwhere(array).astype(np.int32)
    parts = {
        "data": array[array != 0],
        "indices": indices,
        "shape": np.array(array.shape, np.int64),
    }
    if form == "csr":
        counts = np.bincount(indices[:, 0], minlength=len(array))
        parts |= {"indices": indices[:, 1], "indptr": np.concatenate([[0], np.cumsum(counts)])}
    return {f"{name}/{part}": values for part, values in parts.items()}


def _named(tree: Any) -> dict[str, Any]:
    """The leaves by their paths; ValueError where one is no array or two have the same path."""
    named: dict[str, Any] = {}
    for name, leaf in zip(*map(jax.tree.leaves, (leaf_paths(tree), tree)), strict=True):
        if not hasattr(leaf, "dtype"):
            raise ValueError(f"leaf {name!r} must be an array, not {leaf!r}")
        if name in named:
            raise ValueError(f"leaves must have paths of their own, not {name!r} twice")
        named[name] = leaf
    return named


def _on_host(leaves: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf, order="C") for name, leaf in sharding.gather(leaves).items()}


def _write(content: bytes, path: str | os.PathLike) -> None:
    """Write the file beside its place and then move it there, with the default mode."""
    part = Path(f"{os.fspath(path)}.{secrets.token_hex(4)}.partial")
    try:
        with part.open("xb") as file:
            file.write(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("gajax.save and gajax.load need `pip install safetensors`") from None
    return safetensors
