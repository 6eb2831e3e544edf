"""From the steps of a front's evolution to rows of metrics, a live display and the cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import front_methods
from experiments.cli import require_living
from experiments.fronts import Step, log_hypervolume
from experiments.progress import Progress

if TYPE_CHECKING:
    from experiments.gemonn import Config

Row = dict[str, Any]


class FrontRecorder:
    """Collects `rows`, one for each generation, and shows where the evolution stands."""

    def __init__(
        self, config: Config, zero_loss: float, progress: Progress, on_row: Callable[[Row], None]
    ) -> None:
        self.rows: list[Row] = []
        self.generation = 0
        self._rate = config.learning_rate
        self._names = front_methods.NAMES.get(config.method, ())
        self._generations = config.generations
        self._budget = config.budget
        self._zero_loss = zero_loss
        self._progress = progress
        self._on_row = on_row
        self._gradient = self._forward = self._sequential = 0
        self._started = self._latest = time.perf_counter()
        self._phase = "evolution"
        self._base = (self._started, 0.0)  # when and at which fraction time began to count
        self._examples = 0  # since the latest row
        self._show(None, 0.0, {})  # the first step waits for its compilation

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
        return {"rows": self.rows, "costs": costs, "times": times, "generation": self.generation}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `saved` has given, telling the rows once more."""
        now = time.perf_counter()
        self._started, self._latest = (now - elapsed for elapsed in saved["times"])
        self._gradient, self._forward, self._sequential, self._examples = saved["costs"]
        self.generation, self.rows = saved["generation"], saved["rows"]
        for row in self.rows:
            self._on_row(row)

    def observe(self, step: Step) -> None:
        """Take one step in, and its row where it ended a generation.

        InputError where that generation has left nobody alive.
        """
        if step.phase == "evolved":
            return
        info = step.info
        now = time.perf_counter()
        is_compiled = step.phase == self._phase and self._sequential > 0
        self._phase = step.phase
        self._gradient += int(info.gradient_examples)
        self._forward += int(info.forward_examples)
        self._sequential += int(info.sequential_steps)
        self._examples += int(info.gradient_examples + info.forward_examples)
        is_evolution = step.phase == "evolution"
        if is_evolution:
            self.generation = int(info.generation)
        score = log_hypervolume(step.density, info.loss, self._zero_loss)
        finite = info.loss[np.isfinite(info.loss)]
        rate = self._examples / max(now - self._latest, 1e-9)
        metrics = {}
        if finite.size:
            metrics = {
                "best loss": f"{finite.min():.4f}",
                "hypervolume": f"{score:.3f}",
                "density": f"{step.density.min():.2g}..{step.density.max():.2g}",
            }
        fraction = float(info.fraction)
        if is_evolution:
            fraction = max(0.0, int(info.generation) - 1 + fraction) / self._generations
            if self._budget is not None:
                fraction = max(fraction, self.cost()["cost"] / self._budget)
        fraction = min(fraction, 1.0)
        if not is_compiled:
            self._base = (now, fraction)
        self._show(now, fraction, metrics)
        if info.done and is_evolution:
            self.rows.append(
                {
                    "generation": self.generation,
                    "best_loss": float(finite.min()) if finite.size else np.nan,
                    "median_loss": float(np.median(finite)) if finite.size else np.nan,
                    "log_hypervolume": score,
                    "lowest_density": float(step.density.min()),
                    "highest_density": float(step.density.max()),
                    "failed": int(info.failed),
                    **self.cost(),
                    "seconds": now - self._started,
                    "examples_per_second": rate,
                    **{
                        f"loss of {name}": float(loss)
                        for name, loss in zip(self._names, info.loss, strict=False)
                    },
                }
            )
            self._on_row(self.rows[-1])
            self._latest, self._examples = now, 0
        if info.done:
            require_living(info.loss, self._rate, self.generation, self._phase)

    def _show(self, now: float | None, fraction: float, metrics: dict[str, str]) -> None:
        since, base = self._base
        done = fraction - base
        # Where the budget ends the run, the generations that there may be are too many to tell.
        is_counted = self._phase == "evolution" and self._budget is None
        if self._phase == "evolution" and not is_counted:
            metrics = {"generation": str(self.generation), **metrics}
        self._progress.update(
            phase=self._phase,
            generation=self.generation,
            generations=self._generations if is_counted else 0,
            fraction=fraction,
            metrics=metrics,
            remaining=(now - since) * (1 - fraction) / done if now and done > 0 else None,
        )
