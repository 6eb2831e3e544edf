"""Converts the steps of a training to rows of metrics and a live display."""

import jax
import numpy as np

import gajax
from experiments.autoencoder import layerwise
from experiments.autoencoder.layerwise import Phase
from experiments.running.cli import require_finite_loss
from experiments.running.meter import Meter, OnRow
from experiments.running.progress import Progress

_densities = jax.jit(gajax.density)  # a program, not one operation after another


class Recorder:
    """Shows the progress of a training, and adds a row per generation to its `meter`."""

    def __init__(self, rate: float, phases: list[Phase], progress: Progress, on_row: OnRow) -> None:
        self.meter = Meter(on_row)
        self._rate = rate
        self._work = {phase: phase.generations * phase.steps * phase.work for phase in phases}
        self._progress = progress
        for phase in phases[:1]:  # shown while the first step compiles
            self._progress.update(
                phase=phase.name,
                generation=0,
                generations=phase.generations,
                fraction=0.0,
                metrics={},
                remaining=None,
            )

    def observe(self, step: layerwise.Step) -> None:
        """Record a step, and a row at the end of a generation.

        InputError if no loss of the generation is finite.
        """
        phase, info = step.phase, step.info
        self.meter.count(info)
        rmse = np.sqrt(info.loss)
        scored = rmse[np.isfinite(rmse)]
        best, median, worst = np.quantile(scored, (0, 0.5, 1)) if scored.size else [np.nan] * 3
        shown = {"best RMSE": f"{best:.4f}", "median": f"{median:.4f}"} if scored.size else {}
        finished = int(info.generation) - (not info.done)
        generations = max(0.0, float(info.generation - 1 + info.fraction))
        is_warm = self.meter.is_warm(phase.name, info)
        self._progress.update(
            phase=phase.name,
            generation=max(0, finished),
            generations=phase.generations,
            fraction=generations / phase.generations,
            metrics={**shown, "examples/s": f"{self.meter.rate():,.0f}"},
            remaining=self.meter.remaining(self._done(phase, generations), is_warm),
            stage=info.stage,
            is_warm=is_warm,
        )
        if info.done:
            density = gajax.sharding.gather(_densities(step.state.params))[step.best_index()]
            self.meter.add(
                {
                    "phase": phase.name,
                    "generation": int(info.generation),
                    "best_rmse": float(best),
                    "median_rmse": float(median),
                    "worst_rmse": float(worst),
                    "best_density": float(density),
                    "surviving_children": int(np.sum(getattr(step.state, "is_child", 0))),
                    "failed": int(info.failed),
                }
            )
            require_finite_loss(info.loss, self._rate, int(info.generation), phase.name)

    def _done(self, phase: Phase, generations: float) -> float:
        """Fraction of the work of all phases that is done."""
        phases = list(self._work)
        before = sum(self._work[earlier] for earlier in phases[: phases.index(phase)])
        return (before + generations * phase.steps * phase.work) / sum(self._work.values())
