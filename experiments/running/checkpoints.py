"""Checkpoints in a run directory, written atomically and verified when loaded.

Orbax writes the arrays but does not detect corruption, so a manifest holds the SHA-256 of every
file of a checkpoint.
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments.running import files, run_directory
from experiments.running.cli import InputError
from gajax import sharding

KEPT = 3
"""Number of newest checkpoints that a run keeps."""

_FACTS_BYTES = 2**30
"""Limit for what is not in arrays: the rows of all generations, in a file with a checksum."""


class Checkpoint(NamedTuple):
    """The saved state of a run.

    Attributes:
      arrays: leaves of the saved trees, in the order in which `take` reads them.
      facts: everything else, serialisable as JSON.
    """

    arrays: Iterator[np.ndarray]
    facts: dict[str, Any]

    def take(self, like: PyTree) -> PyTree:
        """Read the next tree; InputError unless its shapes and dtypes are those of `like`."""
        expected, structure = jax.tree.flatten(like)
        leaves = [
            next(self.arrays, None) if math.prod(leaf.shape) else np.zeros(leaf.shape, leaf.dtype)
            for leaf in expected
        ]
        for leaf, wanted in zip(leaves, expected, strict=True):
            if leaf is None or (leaf.shape, leaf.dtype) != (wanted.shape, wanted.dtype):
                raise InputError("--resume must name a run of this version of the program")
        return jax.tree.unflatten(structure, map(jnp.asarray, leaves))


def save(folder: Path, trees: PyTree, facts: dict[str, Any], kept: int = KEPT) -> None:
    """Write the next checkpoint into the folder, and delete all but the newest `kept`.

    On failure raise OSError and leave nothing.
    """
    import orbax.checkpoint

    # Orbax does not save empty arrays; `take` restores them from their shape.
    arrays = [sharding.gather(leaf) for leaf in jax.tree.leaves(trees) if leaf.size]
    folder.mkdir(exist_ok=True)
    older = _checkpoints(folder)
    number = int(older[-1].name) + 1 if older else 1
    partial = folder / f"{number:08}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        names = {f"{index:06}": array for index, array in enumerate(arrays)}
        with _quiet():
            orbax.checkpoint.PyTreeCheckpointer().save((partial / "arrays").resolve(), names)
        (partial / "facts.json").write_text(json.dumps(facts))
        (partial / "manifest.json").write_text(json.dumps(_digests(partial), indent=1))
        run_directory.flush(partial)
        os.replace(partial, folder / f"{number:08}")
        run_directory.flush(folder)
    except Exception as error:  # Orbax raises ValueError for a full disk
        reason = " ".join(str(error).split())
        # The cause is at the end of a long message.
        if found := re.search(r"([^:]+) \[os_error_code=", reason):
            reason = found[1].strip()
        raise OSError(f"the checkpoint {number} could not be written: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for outdated in older[: len(older) + 1 - kept]:
        shutil.rmtree(outdated, ignore_errors=True)


def load(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Load the newest intact checkpoint of the folder; None if there are no checkpoints.

    Reports each damaged checkpoint to `say`; InputError if all are damaged.
    """
    import orbax.checkpoint

    found = _checkpoints(folder)
    for checkpoint in reversed(found):
        if reason := _damage(checkpoint):
            say(f"checkpoint {checkpoint} is damaged ({reason}), trying the previous one")
            continue
        facts = files.read_json(checkpoint / "facts.json", most=_FACTS_BYTES)
        with _quiet():
            names = orbax.checkpoint.PyTreeCheckpointer().restore((checkpoint / "arrays").resolve())
        return Checkpoint(iter([np.asarray(names[name]) for name in sorted(names)]), facts)
    if found:
        raise InputError(f"--resume must name a run with an intact checkpoint, not {folder.parent}")
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Orbax from logging and printing errors that the caller reports.

    The hook is not restored after an error: threads of Orbax may print until the program ends.
    """
    logger, hook = logging.getLogger("absl"), sys.excepthook
    was_disabled = logger.disabled
    logger.disabled = True
    sys.excepthook = lambda *_: None
    yield
    logger.disabled, sys.excepthook = was_disabled, hook


def _checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of the folder, oldest first."""
    return sorted(path for path in folder.glob("[0-9]" * 8) if path.is_dir())


def _damage(checkpoint: Path) -> str | None:
    """Describe the damage of the checkpoint; None if it is intact."""
    try:
        expected = files.read_json(checkpoint / "manifest.json")
        found = _digests(checkpoint)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    changed = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    return f"{changed[0]} is missing, added or changed" if changed else None


def _digests(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of each file of the checkpoint, by relative path."""
    digests = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path != checkpoint / "manifest.json":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(checkpoint).as_posix()] = digest
    return digests
