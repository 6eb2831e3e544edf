"""Saves the state of a run at regular intervals and on interruption."""

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jaxtyping import PyTree

from experiments.running import checkpoints, memory, signals
from experiments.running.cli import InputError, Interrupted
from experiments.running.hosts import ALONE, Hosts
from experiments.running.resuming import machine, parse_interval, refuse_differences

Collect = Callable[[], tuple[PyTree, dict[str, Any]]]
"""Returns the arguments of `checkpoints.save`: trees and facts."""

_MOST_KEPT = 10**9
"""Bytes of the largest state that a finished run keeps; on disk it is compressed."""

_SHOW_CURSOR = "\x1b[?25h"


class CheckpointManager:
    """Saves the checkpoints of a run and loads the one to resume from.

    They are in the folder `checkpoints` of the run directory. The folder `state` holds the last
    state before the results, or before a final refinement, from which a finished run is extended.
    """

    def __init__(
        self,
        directory: Path,
        every: str,
        identity: dict[str, Any],
        *,
        extensible: Collection[str] = (),
        keep_state: bool = False,
        hosts: Hosts = ALONE,
    ) -> None:
        """Load `resumed`, the latest checkpoint in the directory, if any.

        Args:
          directory: of the run.
          every: interval between checkpoints, as `resuming.parse_interval` reads it.
          identity: settings and data of the run; InputError if `resumed` has different ones.
          extensible: flags in which it may differ. If it does, `resumed` is the state to extend,
            if there is one.
          keep_state: whether `keep` saves that state.
          hosts: the processes of the run, which all call every method at the same steps.
        """
        self._hosts = hosts
        self._folder, self._state = directory / "checkpoints", directory / "state"
        self._keep_state = keep_state
        self._generations, self._seconds = parse_interval(every)
        self._facts = {"identity": identity, "machine": machine()}
        self._ended = 0  # generations since the latest checkpoint
        self._saved = time.monotonic()
        self._signal: int | None = None
        self._collect: Collect | None = None  # of the latest step

        # Before anything is written, because it may be refused.
        self.resumed = self._load(self._folder) or self._load(self._state)
        if self.resumed:
            saved = self.resumed.facts["identity"]
            refuse_differences(saved, identity, extensible)
            if "ended" in self.resumed.facts:  # without finite losses
                raise InputError(self.resumed.facts["ended"])
            was = self.resumed.facts.get("machine", self._facts["machine"])
            if was != self._facts["machine"]:
                note = "from here on results are those of an uninterrupted run up to rounding"
                text = f"the run was saved on {was} and goes on on {self._facts['machine']}: {note}"
                if hosts.reports:
                    print(text, file=sys.stderr)
            if saved != identity and self._folder.exists():
                # The checkpoint may be of the final refinement, which is done anew.
                self.resumed = self._load(self._state) or self.resumed

    def keep(self, collect: Collect) -> None:
        """Save the state from which the run can be extended, unless it is too large."""
        if not self._keep_state:
            return
        trees, facts = collect()
        if memory.size(trees) <= _MOST_KEPT:
            facts = {**facts, **self._facts}
            checkpoints.save(self._state, trees, facts, kept=1, hosts=self._hosts)

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Defer stop signals within the block to the next call of `step` or the end of the block.

        A second signal ends the process immediately.
        """
        with signals.handled(self._notice):
            yield
            _, stop = self._agreed()
            if stop is not None:
                self._stop(stop)
        if self._signal is not None:  # while the processes agreed that there was none
            raise self._interruption(self._signal)
        self._collect = None  # it holds arrays

    def step(self, ended: bool, collect: Collect) -> None:
        """Save a checkpoint if one is due; raise Interrupted after a signal, to any process.

        Args:
          ended: whether the step was the last one of a generation.
          collect: returns the trees and facts to save.
        """
        self._ended += ended
        self._collect = collect
        if self._generations is None:
            is_due = time.monotonic() - self._saved >= self._seconds
        else:
            is_due = self._ended >= self._generations
        is_due, stop = self._agreed(is_due)
        if stop is not None:
            self._stop(stop)
        if is_due:
            self._save(collect)

    @contextmanager
    def save_on_failure(self, collect: Collect) -> Iterator[None]:
        """Save a checkpoint if the block raises InputError, as it does without finite losses."""
        try:
            yield
        except InputError as error:
            self._save(collect, ended=str(error))
            raise InputError(f"{error}; the state is saved in {self._folder}") from None

    def _agreed(self, is_due: bool = False) -> tuple[bool, int | None]:
        """Whether a checkpoint is due, and a signal that any process has received, in all alike."""
        if self._signal is not None and not self._hosts.reports:
            self._hosts.tell_stop(self._signal)
        is_due, stop = self._hosts.share(lambda: (is_due, self._signal or self._hosts.stop))
        return is_due, stop

    def _stop(self, number: int) -> NoReturn:
        """Save the latest step, if there is one, and raise Interrupted."""
        if self._collect is None:
            raise self._interruption(number)
        self._save(self._collect)
        raise self._interruption(number, ", state saved")

    @staticmethod
    def _interruption(number: int, more: str = "") -> Interrupted:
        return Interrupted(f"interrupted by {signals.name(number)}{more}", signals.status(number))

    def _save(self, collect: Collect, **more: Any) -> None:
        trees, facts = collect()
        facts = {**facts, **more, **self._facts}
        checkpoints.save(self._folder, trees, facts, hosts=self._hosts)
        self._ended, self._saved = 0, time.monotonic()

    def _load(self, folder: Path) -> checkpoints.Checkpoint | None:
        return checkpoints.load(folder, lambda text: print(text, file=sys.stderr), self._hosts)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number
        # The display has hidden the cursor, and a second signal would leave it hidden.
        shown = _SHOW_CURSOR if sys.stderr.isatty() else ""
        print(f"{shown}saving; interrupt again to exit immediately", file=sys.stderr, flush=True)
