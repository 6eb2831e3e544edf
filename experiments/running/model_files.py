"""Networks in safetensors files, dense or as coordinates of the nonzero entries."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

import gajax
from experiments.running import files
from experiments.running.cli import InputError

_PARTS = {"indices": "U32", "values": "F32", "offsets": "I64", "shape": "I64"}
_AXES = 8
_HEADER_BYTES = 1_000_000


def dense(params: dict[str, Any]) -> dict[str, np.ndarray]:
    """One array for each leaf, named by its path."""
    return {name: np.asarray(leaf) for name, leaf in flatten_dict(params, sep="/").items()}


def coordinates(params: dict[str, Any]) -> dict[str, np.ndarray]:
    """Flat indices and values of the nonzero entries of each leaf, and its shape."""
    arrays = {}
    for name, leaf in dense(params).items():
        indices = np.flatnonzero(leaf)
        arrays[f"{name}/indices"] = indices.astype(np.uint32)
        arrays[f"{name}/values"] = leaf.reshape(-1)[indices]
        arrays[f"{name}/shape"] = np.array(leaf.shape, np.int64)
    return arrays


def size(arrays: dict[str, np.ndarray]) -> int:
    """Bytes of a safetensors file with the arrays."""
    from safetensors.numpy import save

    return len(save(arrays))


def tree(network: dict[str, np.ndarray], shapes: Any) -> dict[str, Any]:
    """The parameters of which `network` is the `dense` form; ValueError if they do not fit."""
    wanted: dict[str, Any] = flatten_dict(shapes, sep="/")
    if {name: leaf.shape for name, leaf in wanted.items()} != {
        name: leaf.shape for name, leaf in network.items()
    }:
        raise ValueError("its leaves do not fit the model of config.json")
    return unflatten_dict(network, sep="/")


def largest_matrix(network: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """Name and values of the largest matrix of a network in the `dense` form."""
    matrices = {name: leaf for name, leaf in network.items() if leaf.ndim == 2}
    return max(matrices.items(), key=lambda item: item[1].size)


def save_population(population: dict[str, Any], path: Path) -> None:
    """Write the `coordinates` of all individuals, concatenated.

    The array `offsets` [P + 1] of a leaf holds where the entries of each individual begin.
    """
    arrays = {}
    for name, leaf in dense(population).items():
        genes = leaf.reshape(len(leaf), -1)
        owners, indices = np.nonzero(genes)
        counts = np.bincount(owners, minlength=len(leaf))
        arrays[f"{name}/indices"] = indices.astype(np.uint32)
        arrays[f"{name}/values"] = genes[owners, indices]
        arrays[f"{name}/offsets"] = np.concatenate([[0], np.cumsum(counts)])
        arrays[f"{name}/shape"] = np.array(leaf.shape[1:], np.int64)
    gajax.save(arrays, path)


def load_network(path: Path, index: int) -> dict[str, np.ndarray]:
    """Read one network that `save_population` wrote, as `dense`; InputError if damaged."""
    # Untrusted files can make safetensors raise exceptions of any class.
    try:
        return _read_network(path, index)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--run has a damaged {path.name}: {reason}") from None


def _read_network(path: Path, index: int) -> dict[str, np.ndarray]:
    from safetensors import safe_open

    files.size(path)
    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > _HEADER_BYTES:
            raise ValueError("its header is too large")
    with safe_open(path, "numpy") as file:
        names = {*file.keys()}
        leaves = sorted({name.rpartition("/")[0] for name in names})
        if not leaves:
            raise ValueError("it holds no network")
        if names != {f"{leaf}/{part}" for leaf in leaves for part in _PARTS}:
            raise ValueError(f"a leaf must have {', '.join(_PARTS)}")
        network, room = {}, files.NETWORK_BYTES // 4
        for leaf in leaves:
            parts = {part: file.get_slice(f"{leaf}/{part}") for part in _PARTS}
            network[leaf] = _leaf(parts, index, room)
            room -= network[leaf].size
        return network


def _leaf(parts: dict[str, Any], index: int, room: int) -> np.ndarray:
    """Extract the leaf of one network; ValueError if the parts are inconsistent."""
    lengths = {}
    for name, dtype in _PARTS.items():
        if parts[name].get_dtype() != dtype or len(parts[name].get_shape()) != 1:
            raise ValueError(f"{name} must be a list in {dtype}")
        (lengths[name],) = parts[name].get_shape()
    if lengths["shape"] > _AXES or index + 1 >= lengths["offsets"]:
        raise ValueError(f"there must be a network {index} of at most {_AXES} axes")
    # safetensors cannot slice empty arrays.
    sizes = parts["shape"][:].tolist() if lengths["shape"] else []
    start, stop = parts["offsets"][index : index + 2].tolist()
    genes = math.prod(sizes)
    if min(sizes, default=1) < 1 or genes > room:
        raise ValueError(f"a leaf of shape {sizes} must be positive and not too large")
    if not 0 <= start <= stop <= lengths["indices"] == lengths["values"]:
        raise ValueError("the parts of a leaf are inconsistent")
    leaf = np.zeros(genes, np.float32)
    if start < stop:
        indices, values = parts["indices"][start:stop], parts["values"][start:stop]
        if (indices >= genes).any() or not np.isfinite(values).all():
            raise ValueError("the indices of a leaf must be within it, and its values finite")
        leaf[indices] = values
    return leaf.reshape(sizes)
