"""Estimates of the memory and time of runs from their first steps."""

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
"""Least time and number of steps to observe after compilation."""


class _EstimatedError(Exception):
    """Ends a training whose duration is known."""


class _Stopwatch(Progress):
    """Ends a training once its duration is estimated, in `seconds`; shows nothing."""

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
        """End the training; the results would be measured next."""
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
    """Print the settings, and the memory and time of the runs of each row.

    All runs of a row are assumed to cost the same, and times add up even for parallel runs.

    Args:
      together: whether as many runs as fit train in parallel.
    """
    view = Table(title=f"would run on {dataset.name}", show_header=False)
    row_settings = set() if together else {"method", "activation", "equal"}
    for name, value in asdict(shown).items():
        if name not in {"dry_run", *row_settings} and value is not None:
            view.add_row(flag(name), _words(value))
    view.add_section()
    total = 0.0
    for name, configs in rows.items():
        config, count = configs[0], len(configs)
        with Progress(quiet=shown.quiet) as progress:
            with progress.status(f"taking the first steps of {name}"):
                capacity = training.capacity(config, dataset)
                seconds = _estimate(config, dataset, training)
        needed = capacity.bytes * (min(capacity.runs, count) if together else 1)
        present = memory.gigabytes(memory.available())
        text = f"{memory.gigabytes(max(needed, memory.peak()))} of {present} available"
        view.add_row(f"memory of {name}", text)
        each = f" for each of {count} runs" if count > 1 else ""
        view.add_row(f"training of {name}", f"about {_clock(seconds)}{each}")
        total += count * seconds
    if sum(map(len, rows.values())) > 1:
        view.add_row("all training", f"about {_clock(total)}")
    show(view, "nothing is written; measuring the results takes additional time")


def _estimate(config: RunConfig, dataset: Any, training: Training) -> float:
    """Estimate the seconds of the training, including compilation."""
    stopwatch = _Stopwatch()
    try:
        runs.train(training, config, dataset, stopwatch, training.no_callback)
    except _EstimatedError:
        pass
    assert stopwatch.seconds is not None, "the training ends when they are known"
    return stopwatch.seconds


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
