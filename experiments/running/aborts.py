"""Messages in place of the stacks of C++ when JAX aborts a process of a distributed run.

JAX's coordination service ends all processes by SIGABRT when one of them, or the connection to it,
is lost, and no option of JAX prevents that. The standard error of C++ is therefore a pipe, whose
lines go on to the terminal unless they belong to such an end.
"""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

_LOST = re.compile(rb"coordination_service|coordination service|distributed service")


def explain(report: Callable[[], NoReturn]) -> None:
    """Call `report` where JAX aborts this process because it has lost another one."""
    if os.name == "nt":
        return
    sys.stderr.flush()
    terminal, (reading, writing) = os.dup(2), os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, errors="backslashreplace", closefd=False)
    held: list[bytes] = []

    def pass_on() -> None:
        since = 0.0
        with os.fdopen(reading, "rb", buffering=0) as lines:
            for line in lines:
                if not held and _LOST.search(line):
                    since = time.monotonic()
                if time.monotonic() - since > _SECONDS:
                    os.write(terminal, b"".join([*held, line]))
                    held.clear()
                else:
                    held.append(line)

    def aborted(number: int) -> None:
        time.sleep(_SECONDS / 10)  # for the other thread to read
        if any(map(_LOST.search, held)):
            report()
        os.write(terminal, b"".join(held))  # the abort goes on

    threading.Thread(target=pass_on, daemon=True).start()
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
    _kept.append(handler)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)


_SECONDS = 2.0
"""For which lines about a lost process are held back; an abort comes at once."""
_kept: list[object] = []
"""Handlers that C may call as long as the process lives."""
