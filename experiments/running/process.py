"""The process of a program: its streams, its stop signals and its exit status."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from experiments.running import signals
from experiments.running.cli import Interrupted, run_main


def run(
    main: Callable[[list[str]], None],
    program: str,
    *,
    around: Callable[[Callable[[], int]], int] = lambda run: run(),
) -> NoReturn:
    """Run the main of a program on the command line and exit with what `around` gives for it."""
    _open_streams()
    status = 1
    try:
        with signals.raised():
            status = around(partial(run_main, main, program))
    except Interrupted as late:  # when everything had been said
        status = late.status
    raise SystemExit(status)


def _open_streams() -> None:
    """Open the streams that are closed, whose numbers the next files would get, as the null device.

    Text that stderr cannot take is discarded, because the reader of the progress may have ended.
    """
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
        setattr(sys, name, os.fdopen(number, mode))
    sys.stderr = _Lossy(sys.stderr)  # pyright: ignore[reportAttributeAccessIssue]


class _Lossy:
    """A text stream that goes to the null device after its first error, as of a closed pipe."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._discard()

    def _discard(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
