"""Data sets and compiled programs: the folder of the user's that keeps them, and an end to them."""

import gc
import os
import re
from importlib.metadata import version
from pathlib import Path

import platformdirs


def folder(name: str) -> Path:
    """The part of that name of $GAJAX_CACHE_DIR, or of the system's folder for caches."""
    root = os.environ.get("GAJAX_CACHE_DIR") or platformdirs.user_cache_dir("gajax")
    return Path(root).expanduser() / name


def enable_compilation_cache() -> None:
    """Have JAX, not imported yet, keep what it compiles for the next run, if that can be written.

    What the environment already says of JAX's cache goes first. Nothing is ever deleted.
    """
    # On a CPU, older ones warn of another machine's features whenever they load a program.
    if [int(part) for part in re.findall(r"\d+", version("jaxlib"))] < [0, 10, 2]:
        return
    compilations = folder("compilations")
    try:
        # For this user alone, since what is written here is run.
        compilations.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(compilations, os.R_OK | os.W_OK):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compilations))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def clear_programs() -> None:
    """Free what this process has compiled: it may have only so many memory maps on Linux."""
    import jax

    jax.clear_caches()
    gc.collect()
