"""Progress of a run on stderr: a live display on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import NamedTuple, Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_SECONDS_BETWEEN_GENERATIONS = 1
_SECONDS_WITHIN_GENERATION = 10


class _State(NamedTuple):
    phase: str
    started: float
    generation: int = 0
    generations: int = 0
    fraction: float | None = None
    metrics: tuple[tuple[str, str], ...] = ()
    ends: float | None = None
    compiling: bool = False

    def numbers(self) -> list[str]:
        """All fields but the phase, formatted."""
        counter = [f"generation {self.generation}/{self.generations}"] if self.generations else []
        metrics = [f"{name} {value}" for name, value in self.metrics]
        if self.compiling:
            return [*counter, "compiling", f"elapsed {_clock(monotonic() - self.started)}"]
        left = [] if self.ends is None else [f"left {_clock(self.ends - monotonic())}"]
        return [*counter, *metrics, f"elapsed {_clock(monotonic() - self.started)}", *left]

    def line(self) -> str:
        return "  ".join([self.phase, *self.numbers()])


class Progress:
    """Context manager that shows the progress of a run on stderr unless `quiet`.

    The title prefixes the name of every phase, and times are those of the phase. On a terminal,
    nothing else may write to stdout inside the context.
    """

    def __init__(
        self, *, quiet: bool = False, title: str = "", console: Console | None = None
    ) -> None:
        # By default, rich treats a log file as a terminal if FORCE_COLOR is set.
        self._console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
        self._quiet = quiet
        self._title = title
        self._is_live = self._console.is_interactive and not quiet
        self._spinner = Spinner("line" if self._console.options.ascii_only else "dots")
        self._state: _State | None = None
        self._printed_at = monotonic()
        self._printed_generation = 0
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._finish()
        finally:
            self._live.stop()

    def update(
        self,
        *,
        phase: str,
        generation: int,
        generations: int,
        fraction: float,
        metrics: dict[str, str],
        remaining: float | None,
        stage: str = "",
        is_warm: bool = False,
    ) -> None:
        """Show the finished generations of the phase, its fraction done and the seconds left.

        Metrics are shown as `name value`. Frequent calls are cheap. Not shown are the stage of the
        step since the last call, and whether the step took as long as later ones will.
        """
        del stage, is_warm
        now = monotonic()
        phase = self._title + phase
        state = self._state
        if state is None or state.phase != phase:
            state = self._start(phase)
        self._state = state._replace(
            generation=generation,
            generations=generations,
            fraction=fraction,
            metrics=tuple(metrics.items()),
            ends=None if remaining is None else now + remaining,
            compiling=False,
        )
        if self._is_live:
            return
        if generation == self._printed_generation:
            pause = _SECONDS_WITHIN_GENERATION
        else:
            pause = 0 if generation == generations else _SECONDS_BETWEEN_GENERATIONS
        if now - self._printed_at >= pause:
            self._printed_at, self._printed_generation = now, generation
            self._print(self._state.line())

    def compiling(self, stage: str) -> None:
        """Show that a stage is compiling, until the next update."""
        del stage
        if self._state is not None:
            self._state = self._state._replace(compiling=True)

    def is_enough(self) -> bool:
        """Whether to end the phase here; a run never does, but its estimate."""
        return False

    def message(self, text: str) -> None:
        """Print a permanent line."""
        self._print(text)

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """Show `text` while the block runs, for work without generations."""
        text = self._title + text
        if not self._is_live:
            self._print(text)
        self._start(text)
        yield
        self._finish()

    def _start(self, phase: str) -> _State:
        self._finish()
        self._state = _State(phase, started=monotonic())
        self._printed_generation = 0
        return self._state

    def _finish(self) -> None:
        """Print the last line of a phase that only the live display has shown."""
        state, self._state = self._state, None
        if self._is_live and state is not None:
            self._live.refresh()
            self._print(state.line())

    def _print(self, text: str) -> None:
        if not self._quiet:
            self._console.print(Text(text), soft_wrap=not self._is_live)

    def _render(self) -> Group:
        state = self._state
        if state is None:
            return Group()
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column()
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        bar = "" if state.fraction is None else ProgressBar(total=1, completed=state.fraction)
        head.add_row(self._spinner, Text(state.phase, style="bold"), bar)
        return Group(head, Columns([Text(words) for words in state.numbers()], padding=(0, 2)))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=max(0, int(seconds))))
