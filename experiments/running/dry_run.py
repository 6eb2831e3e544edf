"""Estimates of the memory and time of runs from the first steps of each phase."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
"""Least time and number of warm steps to observe in a phase."""
_MOST_SECONDS = 15
"""Warm seconds after which to end even within a generation, whose stages differ in their speed."""


class _EstimatedError(Exception):
    """Ends a training whose duration is known."""


def _zeros() -> dict[str, float]:
    return defaultdict(float)


@dataclass
class _Phase:
    """What is known of the duration of a phase; `fraction` of it is done."""

    cold: float = 0.0  # seconds of steps that include compilation or come only once
    warm: dict[str, float] = field(default_factory=_zeros)  # seconds of the others, by stage
    warm_shares: dict[str, float] = field(default_factory=_zeros)  # of the phase, which they did
    shares: dict[str, float] = field(default_factory=_zeros)  # which all steps did
    steps: int = 0
    fraction: float = 0.0
    first: int = -1  # generation of the first warm step
    generation: int = -1

    def seconds(self) -> float:
        """The estimated duration; the rest has the same stages, each as fast as its warm steps."""
        warm, share = sum(self.warm.values()), sum(self.warm_shares.values())
        if share <= 0:
            return self.cold + warm
        total = sum(self.shares.values())
        rate = sum(own for stage, own in self.warm.items() if not self.shares[stage]) / share
        for stage, done in self.shares.items():
            own = self.warm_shares[stage]
            rate += done / total * (self.warm[stage] / own if own else warm / share)
        return self.cold + warm + (1 - self.fraction) * rate


class _Stopwatch(Progress):
    """Ends each phase of a training once its duration is known; shows nothing."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self._latest = monotonic()
        self._phases: dict[str, _Phase] = {}
        self._current = _Phase()

    def update(
        self,
        *,
        phase: str,
        generation: int,
        fraction: float,
        stage: str = "",
        is_warm: bool = False,
        **_: Any,
    ) -> None:
        now = monotonic()
        self._current = known = self._phases.setdefault(phase, _Phase())
        known.shares[stage] += fraction - known.fraction
        if is_warm:
            known.warm[stage] += now - self._latest
            known.warm_shares[stage] += fraction - known.fraction
            known.steps += 1
            known.first = generation if known.steps == 1 else known.first
        else:
            known.cold += now - self._latest
        known.fraction, known.generation, self._latest = fraction, generation, now

    def is_enough(self) -> bool:
        known = self._current
        least = _SECONDS if known.generation > known.first else _MOST_SECONDS
        is_known = known.steps >= _STEPS and sum(known.warm_shares.values()) > 0
        return is_known and sum(known.warm.values()) >= least

    def status(self, text: str) -> Any:
        """End the training; the results would be measured next."""
        self._current.cold += monotonic() - self._latest
        raise _EstimatedError

    def seconds(self) -> float:
        """The estimated duration of the training."""
        return sum(phase.seconds() for phase in self._phases.values())


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
    return stopwatch.seconds()


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
