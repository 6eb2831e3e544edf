"""The user's cache folder for data sets and compiled programs."""

import gc
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

_MOST_BYTES = 2 * 10**9
"""Size that the compiled programs have when a program starts."""


def folder(name: str) -> Path | None:
    """The subfolder `name` of $GAJAX_CACHE_DIR or, by default, of the system's cache folder.

    None for a user without a home, as in some containers.
    """
    try:
        root = os.environ.get("GAJAX_CACHE_DIR") or platformdirs.user_cache_dir("gajax")
        return Path(root).expanduser() / name
    except RuntimeError:
        return None


def enable_compilation_cache() -> None:
    """Enable JAX's persistent compilation cache if its folder is writable; call before import.

    Environment variables that configure JAX's cache take precedence.
    """
    # On a CPU, older versions warn about mismatched machine features on every cache hit.
    if [int(part) for part in re.findall(r"\d+", version("jaxlib"))] < [0, 10, 2]:
        return
    compilations = folder("compilations")
    if compilations is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        # Private to the user, because cached programs are executed.
        compilations.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(compilations, os.R_OK | os.W_OK | os.X_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compilations)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        _trim(compilations)
        _mend_on_warning(compilations)


def clear_programs() -> None:
    """Free all compiled programs of this process, because Linux limits its memory maps."""
    import jax

    jax.clear_caches()
    gc.collect()


def _trim(compilations: Path) -> None:
    """Delete the programs that were used least recently, beyond `_MOST_BYTES`, and empty files.

    A process that is killed while it writes a program leaves an empty file.
    """
    total = 0
    for status, path in sorted(_entries(compilations), reverse=True):
        _, size = status
        total += size
        if not size or total > _MOST_BYTES:
            path.unlink(missing_ok=True)


def _entries(compilations: Path) -> Iterator[tuple[tuple[float, int], Path]]:
    """The latest use and the size of each file, and its path."""
    with os.scandir(compilations) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process trims too
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat()
                    latest = max(status.st_atime, status.st_mtime)
                    yield (latest, status.st_size), Path(entry.path)


def _mend_on_warning(compilations: Path) -> None:
    """Replace the warnings of JAX about the cache, one for each program, by a single line.

    JAX never replaces a program that it cannot read, so all are deleted.
    """
    show, told = warnings.showwarning, set()

    def mend(message: Warning | str, *rest: Any, **named: Any) -> None:
        found = re.match("Error (reading|writing) persistent compilation cache entry", str(message))
        if not found:
            return show(message, *rest, **named)
        if found[1] in told:
            return
        told.add(found[1])
        what = f"cannot be written to ({str(message).rpartition(': ')[2]})"
        if found[1] == "reading":
            what = "was damaged and starts anew"
            for _, path in _entries(compilations):
                path.unlink(missing_ok=True)
        text = f"the cache of compiled programs in {compilations} {what}"
        print(" ".join(text.split()), file=sys.stderr)

    warnings.showwarning = mend
