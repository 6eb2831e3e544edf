"""Stop signals: SIGINT of Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from experiments.running.cli import Interrupted

Handler = Callable[[int, FrameType | None], None]

_STOP = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_SAME = 1.0
"""Seconds within which further signals count as the first: `timeout`, for one, sends two."""

_first: float | None = None


def name(number: int) -> str:
    """The name of a signal."""
    return signal.Signals(number).name


def status(number: int) -> int:
    """The exit status of a process that a signal has ended."""
    return 128 + number


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Call the handler at the first stop signal within the block; a later one ends the process.

    Signals that are ignored, as in background jobs, stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    found = {number: signal.getsignal(number) for number in _STOP}
    before = {number: old for number, old in found.items() if old != signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, frame: _notice(handler, number, frame))
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def raised() -> Iterator[None]:
    """Raise Interrupted at the first stop signal within the block, and ignore those after it."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: _raise_again(unraisable, hook)
    try:
        with handled(_raise):
            yield
    finally:
        for number in _STOP:
            signal.signal(number, signal.SIG_IGN)
        sys.unraisablehook = hook


@contextmanager
def ending(program: str, tell: Callable[[str, int], None] | None = None) -> Iterator[None]:
    """End the process at the first stop signal within the block, which must have written nothing.

    Imports of large libraries may swallow exceptions, or report them in tracebacks. `tell` is
    called with what has happened and the exit status before the process ends.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        text = f"interrupted by {name(number)}"
        os.write(2, f"{program}: {text}; nothing was written\n".encode())
        if tell:
            tell(text, status(number))
        os._exit(status(number))

    with handled(end):
        yield


def _notice(handler: Handler, number: int, frame: FrameType | None) -> None:
    global _first
    if _first is None:
        _first = time.monotonic()
        handler(number, frame)
    elif time.monotonic() - _first > _SAME:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _raise(number: int, frame: FrameType | None) -> None:
    del frame
    raise Interrupted(f"interrupted by {name(number)}", status(number))


def _raise_again(unraisable: Any, hook: Callable[[Any], Any]) -> None:
    """Raise the signal again if the first exception came in a callback that cannot raise."""
    global _first
    if not isinstance(unraisable.exc_value, Interrupted):
        return hook(unraisable)
    _first, number = None, unraisable.exc_value.status - status(0)
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
