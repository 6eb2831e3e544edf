"""Saves the state of a run at regular intervals and on interruption."""

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
"""Returns the arguments of `checkpoints.save`: trees and facts."""

_SHOW_CURSOR = "\x1b[?25h"


class CheckpointManager:
    """Saves the checkpoints of a run and loads the one to resume from."""

    def __init__(self, folder: Path, every: str, identity: dict[str, Any]) -> None:
        """Load `resumed`, the latest checkpoint in the folder, if any.

        Args:
          folder: directory of the checkpoints.
          every: interval between checkpoints, as `resuming.parse_interval` reads it.
          identity: settings and data of the run; InputError if `resumed` has different ones.
        """
        self._folder = folder
        self._generations, self._seconds = parse_interval(every)
        self._identity = identity
        self._ended = 0  # generations since the latest checkpoint
        self._saved = time.monotonic()
        self._signal: int | None = None

        # Before anything is written, because it may be refused.
        self.resumed = checkpoints.load(folder, lambda text: print(text, file=sys.stderr))
        if self.resumed:
            refuse_differences(self.resumed.facts["identity"], identity)

    def delete_checkpoints(self) -> None:
        """Delete the checkpoints of a finished run."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Defer SIGINT and SIGTERM within the block to the next call of `step`.

        A second signal ends the process immediately.
        """
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # Signals that are ignored, as in background jobs, stay ignored.
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
        """Save a checkpoint if one is due; raise Interrupted after a signal.

        Args:
          ended: whether the step was the last one of a generation.
          collect: returns the trees and facts to save.
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
            raise Interrupted(f"interrupted by {name}, state saved", 128 + self._signal)

    @contextmanager
    def save_on_failure(self, collect: Collect) -> Iterator[None]:
        """Save a checkpoint if the block raises InputError, as it does without finite losses."""
        try:
            yield
        except InputError as error:
            self._save(collect)
            raise InputError(f"{error}; the state is saved in {self._folder}") from None

    def _save(self, collect: Collect) -> None:
        trees, facts = collect()
        checkpoints.save(self._folder, trees, {**facts, "identity": self._identity})
        self._ended, self._saved = 0, time.monotonic()

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number
        signal.signal(number, signal.SIG_DFL)
        # The display has hidden the cursor, and a second signal would leave it hidden.
        shown = _SHOW_CURSOR if sys.stderr.isatty() else ""
        print(f"{shown}saving; interrupt again to exit immediately", file=sys.stderr, flush=True)
