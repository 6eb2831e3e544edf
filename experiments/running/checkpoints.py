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

from experiments.running import files, run_directory, shared_folder
from experiments.running.cli import Failed, InputError
from experiments.running.hosts import ALONE, Hosts
from gajax import sharding

KEPT = 3
"""Number of newest checkpoints that a run keeps."""
_COUNT = "number of arrays"
"""Name of a fact that `save` adds and `load` removes."""

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


def save(
    folder: Path, trees: PyTree, facts: dict[str, Any], kept: int = KEPT, hosts: Hosts = ALONE
) -> None:
    """Write the next checkpoint into the folder, and delete all but the newest `kept`.

    On failure raise OSError and leave nothing. All processes of a distributed run call it; each
    writes its shards, and process 0 the rest. None returns before the checkpoint is complete.
    """
    import orbax.checkpoint

    # Orbax does not save empty arrays; `take` restores them from their shape.
    arrays = [_shards(leaf) for leaf in jax.tree.leaves(trees) if leaf.size]
    older = _checkpoints(folder)
    partial = folder / hosts.share(lambda: f"{_next_number(older):08}.partial")
    complete = partial.with_suffix("")
    facts = {**facts, _COUNT: len(arrays)}
    try:
        if hosts.reports:
            shutil.rmtree(partial, ignore_errors=True)
            folder.mkdir(exist_ok=True)  # in a run directory that is there, or it has vanished
            partial.mkdir()
        hosts.share(lambda: None)  # there is a folder now
        shared_folder.require_seen(partial)  # for which Orbax would wait for minutes
        names = {f"{index:06}": array for index, array in enumerate(arrays)}
        with _quiet():
            orbax.checkpoint.PyTreeCheckpointer().save((partial / "arrays").resolve(), names)
        if hosts.reports:
            (partial / "facts.json").write_text(json.dumps(facts))
            (partial / "manifest.json").write_text(json.dumps(_digests(partial), indent=1))
            run_directory.flush(partial)
            os.replace(partial, complete)
            run_directory.flush(folder)
    except Exception as error:  # Orbax raises ValueError for a full disk
        if isinstance(error, Failed):
            raise
        hosts.raise_failure(1)  # another process has failed in the midst of it
        reason = " ".join(str(error).split())
        # The cause is at the end of a long message.
        if found := re.search(r"([^:]+) \[os_error_code=", reason):
            reason = found[1].strip()
        number = int(complete.name)
        raise OSError(f"the checkpoint {number} could not be written: {reason}") from error
    finally:
        if hosts.reports:
            shutil.rmtree(partial, ignore_errors=True)
    if hosts.reports:
        for outdated in older[: len(older) + 1 - kept]:
            shutil.rmtree(outdated, ignore_errors=True)
    hosts.share(lambda: None)


def load(folder: Path, say: Callable[[str], None], hosts: Hosts = ALONE) -> Checkpoint | None:
    """Load the newest intact checkpoint of the folder; None if there are no checkpoints.

    Reports each damaged checkpoint to `say`; InputError if all are damaged. All processes of a
    distributed run call it and get whole arrays.
    """
    import orbax.checkpoint

    name = hosts.share(lambda: _newest_intact(folder, say))
    if name is None:
        return None
    facts = files.read_json(folder / name / "facts.json", most=_FACTS_BYTES)
    # Arrays of NumPy, wherever the devices were that have saved them.
    one = orbax.checkpoint.RestoreArgs(restore_type=np.ndarray)
    arguments = {f"{index:06}": one for index in range(facts.pop(_COUNT))}
    with _quiet():
        arrays = orbax.checkpoint.PyTreeCheckpointer().restore(
            (folder / name / "arrays").resolve(), restore_args=arguments
        )
    return Checkpoint(iter([np.asarray(arrays[name]) for name in sorted(arrays)]), facts)


def _shards(leaf: Any) -> Any:
    """What Orbax saves of an array: the shards of all processes, or that of process 0."""
    is_shared = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    return leaf if is_shared else sharding.gather(leaf)


def _next_number(older: list[Path]) -> int:
    return int(older[-1].name) + 1 if older else 1


def _newest_intact(folder: Path, say: Callable[[str], None]) -> str | None:
    """Name of the checkpoint to load, if there is one; InputError if all are damaged."""
    found = _checkpoints(folder)
    for checkpoint in reversed(found):
        if not (reason := _damage(checkpoint)):
            return checkpoint.name
        say(f"checkpoint {checkpoint} is damaged ({reason}), trying the previous one")
    if found:
        raise InputError(f"--resume must name a run with an intact checkpoint, not {folder.parent}")
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Orbax from logging and printing errors that the caller reports.

    The hooks are not restored after an error: threads of Orbax may print until the program ends.
    """
    logger, hooks = logging.getLogger("absl"), (sys.excepthook, sys.unraisablehook)
    was_disabled = logger.disabled
    logger.disabled = True

    def discard(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):  # of a stop signal
            hooks[1](unraisable)

    sys.excepthook, sys.unraisablehook = lambda *_: None, discard
    yield
    logger.disabled = was_disabled
    sys.excepthook, sys.unraisablehook = hooks


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
