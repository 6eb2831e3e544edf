"""The user's cache folder for data sets and compiled programs."""

import gc
import os
import re
from importlib.metadata import version
from pathlib import Path

import platformdirs


def folder(name: str) -> Path:
    """The subfolder `name` of $GAJAX_CACHE_DIR or, by default, of the system's cache folder."""
    root = os.environ.get("GAJAX_CACHE_DIR") or platformdirs.user_cache_dir("gajax")
    return Path(root).expanduser() / name


def enable_compilation_cache() -> None:
    """Enable JAX's persistent compilation cache if its folder is writable; call before import.

    Environment variables that configure JAX's cache take precedence. Nothing is ever deleted.
    """
    # On a CPU, older versions warn about mismatched machine features on every cache hit.
    if [int(part) for part in re.findall(r"\d+", version("jaxlib"))] < [0, 10, 2]:
        return
    compilations = folder("compilations")
    try:
        # Private to the user, because cached programs are executed.
        compilations.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(compilations, os.R_OK | os.W_OK):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compilations))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def clear_programs() -> None:
    """Free all compiled programs of this process, because Linux limits its memory maps."""
    import jax

    jax.clear_caches()
    gc.collect()
