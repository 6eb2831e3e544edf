"""Whether all processes of a distributed run see one folder."""

import errno
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from experiments.running.cli import InputError
from experiments.running.hosts import Hosts

MARK = ".shared.partial"
"""A file by which processes see that they share a folder."""

_LAG = 10.0
"""Seconds in which a new file is seen from all hosts, as network file systems may lag behind."""


def require_shared(folder: Path, hosts: Hosts) -> None:
    """Raise InputError, in all processes, unless they all see the folder of `--out`."""
    mark = folder / MARK
    try:
        word = hosts.share(lambda: _write_word(mark))
        every = hosts.gather(_soon(lambda: mark.read_text() == word))
        blind = hosts.share(lambda: [index for index, sees in enumerate(every) if not sees])
    finally:
        if hosts.reports:
            mark.unlink(missing_ok=True)
    if blind:
        raise InputError(
            f"--out must be in a folder that all processes share, not {folder}, which process "
            f"{blind[0]} does not see"
        )


def require_seen(folder: Path) -> None:
    """Raise FileNotFoundError unless the folder, which another host has made, is seen soon."""
    if not _soon(folder.is_dir):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))


def _write_word(path: Path) -> str:
    word = secrets.token_hex(16)
    path.write_text(word)
    return word


def _soon(is_so: Callable[[], bool]) -> bool:
    """Whether it is so, without an OSError, within the time that file systems may lag behind."""
    ends = time.monotonic() + _LAG
    while True:
        with suppress(OSError):
            if is_so():
                return True
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
