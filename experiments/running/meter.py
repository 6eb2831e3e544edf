"""Costs and speed of a training."""

import time
from collections.abc import Callable
from typing import Any

import gajax

Row = dict[str, Any]

OnRow = Callable[[Row], None]
"""Called with the metrics of each generation as it ends."""


_EVERY = 10_000
"""Generations of which every one has a row."""

COLUMNS = (
    "gradient_examples",
    "forward_examples",
    "cost",
    "sequential_steps",
    "seconds",
    "examples_per_second",
)
"""Columns that `Meter.add` adds to a row."""


class Meter:
    """Counts the costs of a training and collects `rows`, one per generation.

    Beyond 10,000 generations only every second one has a row, beyond 20,000 every fourth, and so
    on, so that no training writes more rows than are read. `finish` adds that of the last one.
    """

    def __init__(self, on_row: OnRow) -> None:
        """Start the clock; `on_row` is called with each new row."""
        self.rows: list[Row] = []
        self._on_row = on_row
        self._added = 0
        self._left_out: Row | None = None
        self._gradient = self._forward = self._sequential = 0
        self._examples = 0  # since the latest row
        self._started = self._latest = time.perf_counter()
        self._stages: set[tuple[str, str]] = set()
        self._seen = self._seconds = 0.0
        self._fraction = self._progress = 0.0

    def count(self, info: gajax.Info) -> None:
        """Add the costs of a step."""
        self._gradient += int(info.gradient_examples)
        self._forward += int(info.forward_examples)
        self._sequential += int(info.sequential_steps)
        self._examples += int(info.gradient_examples + info.forward_examples)

    def cost(self) -> dict[str, float]:
        """Total costs; `cost` is gradient examples + forward examples / 3."""
        return {
            "gradient_examples": self._gradient,
            "forward_examples": self._forward,
            "cost": self._gradient + self._forward / 3,
            "sequential_steps": self._sequential,
        }

    def rate(self) -> float:
        """Examples per second since the latest row."""
        return self._examples / max(time.perf_counter() - self._latest, 1e-9)

    def add(self, row: Row) -> None:
        """Add the row of a finished generation, with costs and speed."""
        rate, now = self.rate(), time.perf_counter()
        speed = {"seconds": now - self._started, "examples_per_second": rate}
        self._left_out = {**row, **self.cost(), **speed}
        self._added += 1
        if self._added % _stride(self._added) == 0:
            self.finish()
        self._latest, self._examples = now, 0

    def finish(self) -> None:
        """Add the row of the latest generation, if it has none yet."""
        if self._left_out is not None:
            self.rows.append(self._left_out)
            self._on_row(self._left_out)
            self._left_out = None

    def is_warm(self, phase: str, info: gajax.Info) -> bool:
        """Whether the speed of the step tells that of later ones.

        The first piece of each stage in a phase does not, because it includes compilation, and
        generation 0 does not, because it only scores the population.
        """
        stage = phase, info.stage
        is_known = stage in self._stages
        self._stages.add(stage)
        return is_known and info.generation > 0

    def remaining(self, fraction: float, is_warm: bool) -> float | None:
        """Estimated seconds left when this fraction of the training is done; None if unknown.

        Only steps that are warm count.
        """
        now = time.perf_counter()
        if is_warm:
            self._seconds += now - self._seen
            self._progress += fraction - self._fraction
        self._seen, self._fraction = now, fraction
        return self._seconds * (1 - fraction) / self._progress if self._progress > 0 else None

    def saved(self) -> dict[str, Any]:
        """The state for `restore`, serialisable as JSON."""
        now = time.perf_counter()
        times = now - self._started, now - self._latest
        costs = self._gradient, self._forward, self._sequential, self._examples
        count = {"added": self._added, "left_out": self._left_out}
        return {"rows": self.rows, "costs": costs, "times": times, **count}

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the state from `saved` and replay its rows to `on_row`."""
        now = time.perf_counter()
        self._started, self._latest = (now - elapsed for elapsed in saved["times"])
        self._gradient, self._forward, self._sequential, self._examples = saved["costs"]
        self.rows = saved["rows"]
        # Older checkpoints have a row of every generation.
        self._added = saved.get("added", len(self.rows))
        self._left_out = saved.get("left_out")
        for row in self.rows:
            self._on_row(row)


def _stride(number: int) -> int:
    """The power of two such that generations near this number have a row if it divides them."""
    return 1 << max(0, (number - 1) // _EVERY).bit_length()
