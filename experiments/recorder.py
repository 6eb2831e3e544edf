"""From the steps of a training to rows of metrics, a live display and the cost."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gajax
from experiments import layerwise
from experiments.cli import require_living
from experiments.layerwise import Phase
from experiments.progress import Progress

Row = dict[str, Any]


class Recorder:
    """Collects `rows`, one for each generation, and shows where the training stands."""

    def __init__(
        self, rate: float, phases: list[Phase], progress: Progress, on_row: Callable[[Row], None]
    ) -> None:
        self.rows: list[Row] = []
        self._rate = rate
        self._work = {phase: phase.generations * phase.work for phase in phases}
        self._progress = progress
        self._on_row = on_row
        self._gradient = self._forward = self._sequential = 0
        self._started = self._latest = time.perf_counter()
        self._examples = 0  # since the latest row
        for phase in phases[:1]:  # the first step waits for its compilation
            self._progress.update(
                phase=phase.name,
                generation=0,
                generations=phase.generations,
                fraction=0.0,
                metrics={},
                remaining=None,
            )

    def cost(self) -> dict[str, float]:
        """What the training has cost; `cost` is gradient examples + forward examples / 3."""
        return {
            "gradient_examples": self._gradient,
            "forward_examples": self._forward,
            "cost": self._gradient + self._forward / 3,
            "sequential_steps": self._sequential,
        }

    def saved(self) -> dict[str, Any]:
        """All that `restore` needs, ready for JSON."""
        now = time.perf_counter()
        times = now - self._started, now - self._latest
        costs = self._gradient, self._forward, self._sequential, self._examples
        return {"rows": self.rows, "costs": costs, "times": times}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `saved` has given, telling the rows once more."""
        now = time.perf_counter()
        self._started, self._latest = (now - elapsed for elapsed in saved["times"])
        self._gradient, self._forward, self._sequential, self._examples = saved["costs"]
        self.rows = saved["rows"]
        for row in self.rows:
            self._on_row(row)

    def observe(self, step: layerwise.Progress) -> None:
        """Take one step of a training in, and its row where it ended a generation.

        InputError where that generation has left nobody alive.
        """
        phase, info = step.phase, step.info
        now = time.perf_counter()
        self._gradient += int(info.gradient_examples)
        self._forward += int(info.forward_examples)
        self._sequential += int(info.sequential_steps)
        self._examples += int(info.gradient_examples + info.forward_examples)
        rate = self._examples / (now - self._latest)
        rmse = np.sqrt(info.loss)
        scored = rmse[np.isfinite(rmse)]
        best, median, worst = np.quantile(scored, (0, 0.5, 1)) if scored.size else [np.nan] * 3
        shown = {"best RMSE": f"{best:.4f}", "median": f"{median:.4f}"} if scored.size else {}
        ended = int(info.generation) - (not info.done)
        generations = max(0.0, float(info.generation - 1 + info.fraction))
        self._progress.update(
            phase=phase.name,
            generation=max(0, ended),
            generations=phase.generations,
            fraction=generations / phase.generations,
            metrics={**shown, "examples/s": f"{rate:,.0f}"},
            remaining=self._remaining(phase, generations, now),
        )
        if info.done:
            density = gajax.sharding.gather(gajax.density(step.state.params))[step.best_index()]
            self.rows.append(
                {
                    "phase": phase.name,
                    "generation": int(info.generation),
                    "best_rmse": float(best),
                    "median_rmse": float(median),
                    "worst_rmse": float(worst),
                    "best_density": float(density),
                    "failed": int(info.failed),
                    **self.cost(),
                    "seconds": now - self._started,
                    "examples_per_second": rate,
                }
            )
            self._on_row(self.rows[-1])
            self._latest, self._examples = now, 0
            require_living(info.loss, self._rate, int(info.generation), phase.name)

    def _remaining(self, phase: Phase, generations: float, now: float) -> float | None:
        """Seconds left, were every example to cost in proportion to the weights it passes."""
        phases = list(self._work)
        before = sum(self._work[earlier] for earlier in phases[: phases.index(phase)])
        done = before + generations * phase.work
        return (now - self._started) * (sum(self._work.values()) - done) / done if done else None
