"""Experiments that run gajax from the command line."""

import os
import signal
import sys

if sys.argv[:1] == ["-m"]:  # as while `python -m experiments.NAME` locates its program
    # Until the program has been imported, nothing has been written that a signal could leave.

    def _end(number: int, frame: object) -> None:
        del frame
        program = next((word for word in sys.orig_argv if word.startswith("experiments.")), "")
        text = f"interrupted by {signal.Signals(number).name}; nothing was written\n"
        os.write(2, f"{program.removeprefix('experiments.')}: {text}".encode())
        os._exit(128 + number)

    for _name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if signal.getsignal(_number := getattr(signal, _name, signal.SIGINT)) != signal.SIG_IGN:
            signal.signal(_number, _end)
