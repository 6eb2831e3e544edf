"""How many turns of a stage are one piece, what they cost, and how far a generation is."""

import math
from collections.abc import Callable

import jax
import numpy as np

from gajax.types import Position, Stage


class Pace:
    """How many turns a piece has, by the time that the pieces before it have taken."""

    def __init__(
        self, seconds: float | None, seeds: int, on_compile: Callable[[str], None] | None
    ) -> None:
        self._seconds, self._seeds, self._on_compile = seconds, seeds, on_compile
        self._seconds_per_turn: dict[str, float | None] = {}

    def is_new(self, name: str) -> bool:
        """Whether a program is asked for the first time, which is reported."""
        is_new = name not in self._seconds_per_turn
        if is_new:
            self._seconds_per_turn[name] = None
            if self._on_compile:
                self._on_compile(name)
        return is_new

    def turns(self, stage: Stage, left: int) -> int:
        """Turns of the next piece, one of equal pieces for the turns that are left."""
        if self._seconds is None:
            return left
        # Examples in a second, as long as nothing is measured.
        speed = 20_000 if jax.default_backend() == "cpu" else 400_000
        guess = self._seeds * _work(stage) / stage.turns / speed
        one = self._seconds_per_turn[stage.name] or guess
        pieces = math.ceil(left / max(1, int(min(left, self._seconds / one if one else left))))
        return math.ceil(left / pieces)

    def record(self, name: str, seconds_per_turn: float) -> None:
        """Learn from a piece; several processes cut alike, by the number of examples alone."""
        if jax.process_count() == 1:
            self._seconds_per_turn[name] = seconds_per_turn


def costs_of(stage: Stage, start: int, stop: int) -> np.ndarray:
    """Costs of some turns as far as they do not depend on the state."""
    known = (0, 0) if stage.cost else (stage.gradient_examples, stage.forward_examples)
    totals = np.array([*known, stage.sequential_steps], np.int64)
    return totals * stop // stage.turns - totals * start // stage.turns


def share_done(stages: tuple[Stage, ...], position: Position) -> float:
    """Share of a generation that is done at a position within it, by cost."""
    stage = stages[position.stage]
    work = sum(map(_work, stages[: position.stage])) + position.turn / stage.turns * _work(stage)
    return work / max(1, sum(map(_work, stages)))


def _work(stage: Stage) -> float:
    """Cost of all turns, in examples through a gradient."""
    return stage.gradient_examples + stage.forward_examples / 3
