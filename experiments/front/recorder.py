"""Converts the steps of the evolution of a front to rows of metrics and a live display."""

import math
from typing import Any

import numpy as np

from experiments.front import methods
from experiments.front.config import Config
from experiments.front.measures import Step, log_hypervolume
from experiments.running.cli import require_finite_loss
from experiments.running.meter import Meter, OnRow
from experiments.running.progress import Progress

MOST_KEPT = 10_000
"""Individuals of which densities and losses are kept, of generations at equal distances."""


class FrontRecorder:
    """Shows the progress of an evolution, and adds a row per generation to its `meter`.

    `populations` holds densities and losses of the last generation, and of those that are multiples
    of the smallest power of two with at most `MOST_KEPT` individuals, and 100 generations. Of a
    larger population it holds individuals at equal distances.
    """

    def __init__(
        self,
        config: Config,
        costs: tuple[float, float],
        zero_loss: float,
        progress: Progress,
        on_row: OnRow,
    ) -> None:
        """Show the phase; `costs` are those of the evolution, maybe infinite, and refinement."""
        self.meter = Meter(on_row)
        self.generation = 0
        self.populations: list[dict[str, Any]] = []
        self._rate = config.rate
        self._names = methods.NAMES.get(config.method, ())
        self._generations = config.generations
        self._expected, self._reserve = costs
        self._evolved = 0.0  # estimated cost of the evolution
        self._zero_loss = zero_loss
        self._progress = progress
        self._show("evolution", 0.0, {})  # shown while the first step compiles

    def saved(self) -> dict[str, Any]:
        """The state for `restore`, serialisable as JSON."""
        return {
            "meter": self.meter.saved(),
            "facts": (self.generation, self._evolved),
            "populations": self.populations,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the state from `saved` and replay its rows to `on_row`."""
        self.meter.restore(saved["meter"])
        self.generation, self._evolved = saved["facts"]
        self.populations = saved.get("populations", [])  # older checkpoints have none

    def observe(self, step: Step) -> None:
        """Record a step, and a row at the end of a generation.

        InputError if no loss of the generation is finite.
        """
        if step.phase == "evolved":
            return
        info = step.info
        self.meter.count(info)
        is_evolution = step.phase == "evolution"
        if is_evolution:
            self.generation = int(info.generation)
        score = log_hypervolume(step.density, info.loss, self._zero_loss)
        finite = info.loss[np.isfinite(info.loss)]
        metrics = {}
        if finite.size:
            metrics = {
                "best loss": f"{finite.min():.4f}",
                "hypervolume": f"{score:.3f}",
                "density": f"{step.density.min():.2g}..{step.density.max():.2g}",
            }
        speed = info.stage, self.meter.is_warm(step.phase, info)
        self._show(step.phase, float(info.fraction), metrics, *speed)
        if info.done and is_evolution:
            self._keep(step)
            self.meter.add(
                {
                    "generation": self.generation,
                    "best_loss": float(finite.min()) if finite.size else np.nan,
                    "median_loss": float(np.median(finite)) if finite.size else np.nan,
                    "log_hypervolume": score,
                    "lowest_density": float(step.density.min()),
                    "highest_density": float(step.density.max()),
                    "failed": int(info.failed),
                    **{
                        f"loss of {name}": float(loss)
                        for name, loss in zip(self._names, info.loss, strict=False)
                    },
                }
            )
        if info.done:
            require_finite_loss(info.loss, self._rate, self.generation, step.phase)

    def _keep(self, step: Step) -> None:
        """Keep densities and losses of a generation, and drop every other one of too many."""
        every = -(-len(step.density) // MOST_KEPT)
        losses = [float(f"{loss:.4g}") if np.isfinite(loss) else None for loss in step.info.loss]
        densities = [float(f"{density:.4g}") for density in step.density]
        losses, densities = losses[::every], densities[::every]
        kept, stride = self.populations, 1
        while self.generation // stride >= max(1, min(100, MOST_KEPT // len(losses))):
            stride *= 2
        kept = [one for one in kept if one["generation"] % stride == 0]
        this = {"generation": self.generation, "density": densities, "loss": losses}
        self.populations = [*kept, this]

    def _show(
        self,
        phase: str,
        fraction: float,
        metrics: dict[str, str],
        stage: str = "",
        is_warm: bool = False,
    ) -> None:
        """Show a phase; `fraction` is that of the phase or, in evolution, of the generation."""
        cost = self.meter.cost()["cost"]
        # With a budget, the largest number of generations is not informative.
        is_counted = phase == "evolution" and math.isinf(self._expected)
        if phase == "evolution":
            if not is_counted:
                metrics = {"generation": str(self.generation), **metrics}
            fraction = max(0.0, self.generation - 1 + fraction) / self._generations
            fraction = min(1.0, max(fraction, cost / self._expected))
            self._evolved = cost / fraction if fraction else 0.0
        done = min(1.0, cost / (self._evolved + self._reserve)) if self._evolved else 0.0
        self._progress.update(
            phase=phase,
            generation=self.generation,
            generations=self._generations if is_counted else 0,
            fraction=fraction,
            metrics=metrics,
            remaining=self.meter.remaining(done, is_warm) if cost else None,
            stage=stage,
            is_warm=is_warm,
        )
