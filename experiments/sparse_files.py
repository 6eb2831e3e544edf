"""Networks in safetensors files, in full or by the coordinates of what is not zero."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from experiments.cli import InputError

_PARTS = ("indices", "values", "offsets", "shape")
_MAXIMUM_GENES = 2**33  # of a whole population, 32 GiB in full


def dense(params: dict[str, Any]) -> dict[str, np.ndarray]:
    """One array for each leaf, named by its path."""
    return {name: np.asarray(leaf) for name, leaf in flatten_dict(params, sep="/").items()}


def coordinates(params: dict[str, Any]) -> dict[str, np.ndarray]:
    """For each leaf of one network: flat indices, values, and the shape they belong to."""
    arrays = {}
    for name, leaf in dense(params).items():
        indices = np.flatnonzero(leaf)
        arrays[f"{name}/indices"] = indices.astype(np.uint32)
        arrays[f"{name}/values"] = leaf.reshape(-1)[indices]
        arrays[f"{name}/shape"] = np.array(leaf.shape, np.int64)
    return arrays


def save_population(population: dict[str, Any], path: Path) -> None:
    """Write the population: `coordinates` of its individuals one after another.

    The array `offsets` [P + 1] of a leaf says where each individual's begin.
    """
    from safetensors.numpy import save_file

    arrays = {}
    for name, leaf in dense(population).items():
        genes = leaf.reshape(len(leaf), -1)
        owners, indices = np.nonzero(genes)
        counts = np.bincount(owners, minlength=len(leaf))
        arrays[f"{name}/indices"] = indices.astype(np.uint32)
        arrays[f"{name}/values"] = genes[owners, indices]
        arrays[f"{name}/offsets"] = np.concatenate([[0], np.cumsum(counts)])
        arrays[f"{name}/shape"] = np.array(leaf.shape[1:], np.int64)
    save_file(arrays, path)


def load_population(path: Path) -> dict[str, Any]:
    """Read what `save_population` has written; InputError where it is not that."""
    from safetensors.numpy import load_file

    # Whatever is wrong with files from elsewhere, their reader says it in exceptions of all kinds.
    try:
        arrays = load_file(path)
        leaves: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            leaf, part = name.rsplit("/", 1)
            leaves.setdefault(leaf, {})[part] = array
        stacked = {name: jnp.asarray(_leaf(parts)) for name, parts in leaves.items()}
        return unflatten_dict(stacked, sep="/")
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--run has a damaged {path.name}: {reason}") from None


def _leaf(parts: dict[str, np.ndarray]) -> np.ndarray:
    """A leaf [P, ...] from its parts; ValueError where they do not fit together."""
    if set(parts) != set(_PARTS):
        raise ValueError(f"a leaf must have {', '.join(_PARTS)}")
    indices, values, offsets, shape = (parts[name] for name in _PARTS)
    sizes = [int(size) for size in shape]
    genes, individuals = math.prod(sizes), len(offsets) - 1
    counts = np.diff(offsets)
    fits = (
        all(array.ndim == 1 for array in parts.values())
        and indices.dtype == np.uint32
        and values.dtype == np.float32
        and offsets.dtype == shape.dtype == np.int64
        and min(sizes, default=1) > 0
        and 0 < individuals * genes <= _MAXIMUM_GENES
        and offsets[0] == 0
        and (counts >= 0).all()
        and offsets[-1] == len(indices) == len(values)
        and (indices < genes).all()
    )
    if not fits:
        raise ValueError("the parts of a leaf must fit together")
    leaf = np.zeros((individuals, genes), np.float32)
    leaf[np.repeat(np.arange(individuals), counts), indices] = values
    return leaf.reshape(individuals, *sizes)
