"""The steps of an algorithm, from its start or from a checkpoint."""

from collections.abc import Iterator
from typing import Any, Protocol

import jax
import numpy as np

import gajax
from experiments.running.checkpoints import Checkpoint

SECONDS = 1.0
"""Approximate time between checks of signals, display and checkpoints."""


class Watch(Protocol):
    """What is told of a walk, and may end it."""

    def compiling(self, stage: str) -> None:
        """Called with the name of a stage before it is compiled."""
        ...

    def is_enough(self) -> bool:
        """Whether the walk ends after this step."""
        ...


def evolve(
    setting: tuple[Any, ...],
    *,
    generations: int | None = None,
    resumed: Checkpoint | None = None,
    start_from: Any = None,
    watch: Watch | None = None,
) -> Iterator[tuple[Any, gajax.Info]]:
    """Yield states and infos of `gajax.evolve(*setting)`, several per generation if it is long.

    With a checkpoint, the first step is the saved one. `start_from` replaces the initial state of
    the algorithm; the first generation is then number 1.
    """
    resume_from = None if start_from is None else (start_from, gajax.Position(1))
    if resumed:
        state = resumed.take(gajax.state_shapes(*setting))
        info = _restore(resumed.facts["info"], state)
        resume_from = state, info.position
        yield state, info
    walk = gajax.evolve(
        *setting,
        generations=generations,
        seconds=SECONDS,
        resume_from=resume_from,
        donate=True,
        on_compile=watch.compiling if watch else None,
    )
    for step in walk:
        yield step
        if watch and watch.is_enough():
            return


def facts(info: gajax.Info) -> dict[str, Any]:
    """What a checkpoint stores besides the state, serialisable as JSON."""
    return {"info": [info.generation, info.stage, info.fraction, info.done, info.position]}


def take_seed(info: gajax.Info, seed: int | None) -> gajax.Info:
    """The info of the seed at this index, which is None without an axis S."""
    if seed is None:
        return info
    return info._replace(
        loss=info.loss[seed],
        failed=info.failed[seed],
        gradient_examples=info.gradient_examples[seed],
        forward_examples=info.forward_examples[seed],
    )


def _restore(saved: list[Any], state: Any) -> gajax.Info:
    generation, stage, fraction, done, position = saved
    loss, failed = (np.asarray(values) for values in jax.device_get((state.loss, state.failed)))
    zeros = np.zeros_like(failed)
    costs = zeros, zeros, 0
    position = gajax.Position(*position)
    return gajax.Info(generation, stage, fraction, done, loss, {}, failed, *costs, position)
