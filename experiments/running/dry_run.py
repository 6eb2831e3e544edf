"""The settings, memory and time of runs, estimated from their first steps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from time import monotonic
from typing import Any

from rich.table import Table

from experiments.running import memory, runs
from experiments.running.cli import flag, show
from experiments.running.config import RunConfig
from experiments.running.progress import Progress
from experiments.running.runs import Training

_SECONDS, _STEPS = 3, 3
"""That the first steps take at least, after those that wait for their compilation."""


class _EstimatedError(Exception):
    """Enough of a training has been seen."""


class _Stopwatch(Progress):
    """Shows nothing, and ends a training when it is known how long it takes, in `seconds`."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self._started = monotonic()
        self._known: list[float] = []
        self.seconds: float | None = None

    def update(self, *, remaining: float | None, **_: Any) -> None:
        if remaining is None:
            return
        now = monotonic()
        self.seconds = now - self._started + remaining
        self._known.append(now)
        if len(self._known) >= _STEPS and now - self._known[0] >= _SECONDS:
            raise _EstimatedError

    def status(self, text: str) -> Any:
        """The training is over, and measuring what came of it begins."""
        self.seconds = monotonic() - self._started
        raise _EstimatedError


def describe(
    shown: RunConfig,
    rows: Mapping[str, Sequence[RunConfig]],
    dataset: Any,
    training: Training,
    *,
    together: bool,
) -> None:
    """Print the settings, and the memory and time of the runs of each row; write nothing.

    Runs of a row are taken to be alike, and to take the sum of their times even where they go side
    by side.

    Args:
      together: whether as many runs as fit go side by side, or each goes by itself.
    """
    view = Table(title=f"would run on {dataset.name}", show_header=False)
    of_rows = set() if together else {"method", "activation", "equal"}
    for name, value in asdict(shown).items():
        if name not in {"dry_run", *of_rows} and value is not None:
            view.add_row(flag(name), _words(value))
    view.add_section()
    total = 0.0
    for name, configs in rows.items():
        config, runs = configs[0], len(configs)
        with Progress(quiet=shown.quiet) as progress:
            with progress.status(f"taking the first steps of {name}"):
                fit = training.capacity(config, dataset)
                seconds = _estimate(config, dataset, training)
        needed = fit.bytes * (min(fit.runs, runs) if together else 1)
        there = memory.gigabytes(memory.available())
        text = f"{memory.gigabytes(max(needed, memory.peak()))} of the {there} here"
        view.add_row(f"memory of {name}", text)
        many = f" for each of {runs} runs" if runs > 1 else ""
        view.add_row(f"training of {name}", f"about {_clock(seconds)}{many}")
        total += runs * seconds
    if sum(map(len, rows.values())) > 1:
        view.add_row("all training", f"about {_clock(total)}")
    show(view, "nothing is written; measuring what training comes to takes more time")


def _estimate(config: RunConfig, dataset: Any, training: Training) -> float:
    """Seconds that the training will take, compilation of its first steps included."""
    stopwatch = _Stopwatch()
    try:
        runs.train(training, config, dataset, stopwatch, training.no_callback)
    except _EstimatedError:
        pass
    assert stopwatch.seconds is not None, "it ends when they are known"
    return stopwatch.seconds


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
