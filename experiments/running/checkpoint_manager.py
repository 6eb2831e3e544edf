"""When the state of a run is saved: every so often, and before an interruption ends it."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from jaxtyping import PyTree

from experiments.running import checkpoints
from experiments.running.cli import InputError, Interrupted
from experiments.running.resuming import parse_interval, refuse_differences

Collect = Callable[[], tuple[PyTree, dict[str, Any]]]
"""Gives what `checkpoints.save` takes."""

_SHOW_CURSOR = "\x1b[?25h"


class CheckpointManager:
    """Saves the checkpoints of a run, and finds the one from which it goes on."""

    def __init__(self, folder: Path, every: str, identity: dict[str, Any]) -> None:
        """Keep in the folder, `every` so often as `interval` has it, what has that identity.

        InputError where the checkpoint that is there, `resumed`, is of something else.
        """
        self._folder = folder
        self._generations, self._seconds = parse_interval(every)
        self._identity = identity
        self._ended = 0  # generations since the latest checkpoint
        self._saved = time.monotonic()
        self._signal: int | None = None

        # Before anything is written, for it may be refused.
        self.resumed = checkpoints.load(folder, lambda text: print(text, file=sys.stderr))
        if self.resumed:
            refuse_differences(self.resumed.facts["identity"], identity)

    def delete_checkpoints(self) -> None:
        """Remove the checkpoints of a run that is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Let an interruption within the block wait for the next call of `step`.

        One that comes a second time ends the process at once.
        """
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # One that the system was told to ignore, as for a job in the background, stays ignored.
        before = {
            number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN
        }
        for number in before:
            signal.signal(number, self._notice)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def step(self, ended: bool, collect: Collect) -> None:
        """Save the trees and facts that `collect` gives if it is time; raise if interrupted.

        Args:
          ended: whether the step was the last one of a generation.
          collect: gives what `checkpoints.save` takes.
        """
        self._ended += ended
        if self._generations is None:
            is_due = time.monotonic() - self._saved >= self._seconds
        else:
            is_due = self._ended >= self._generations
        if not is_due and self._signal is None:
            return
        self._save(collect)
        if self._signal is not None:
            name = signal.Signals(self._signal).name
            raise Interrupted(f"interrupted by {name}, all is saved", 128 + self._signal)

    @contextmanager
    def save_on_failure(self, collect: Collect) -> Iterator[None]:
        """Save what `collect` gives where the block finds no finite loss."""
        try:
            yield
        except InputError as error:
            self._save(collect)
            raise InputError(f"{error}; their state is saved in {self._folder}") from None

    def _save(self, collect: Collect) -> None:
        trees, facts = collect()
        checkpoints.save(self._folder, trees, {**facts, "identity": self._identity})
        self._ended, self._saved = 0, time.monotonic()

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number
        signal.signal(number, signal.SIG_DFL)
        # The display hides the cursor, and would not get to show it again.
        shown = _SHOW_CURSOR if sys.stderr.isatty() else ""
        print(f"{shown}saving; once more leaves at once", file=sys.stderr, flush=True)
