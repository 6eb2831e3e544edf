"""A whole run in one call: its history, a line of progress, and going on from where it ended."""

import shutil
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import jax
import numpy as np

from gajax import loop
from gajax.types import Algorithm, Data, Info, Params, Position

_SECONDS_WITHIN_GENERATION = 0.5
_SECONDS_BETWEEN_LINES = 0.1
_KEPT = "generation", "loss", "metrics", "failed"
_COSTS = "gradient_examples", "forward_examples", "sequential_steps"


class Fit(NamedTuple):
    """What a run comes to.

    Attributes:
      state: the last state of the algorithm, for `gajax.best` and `gajax.front`.
      history: arrays with a row for each finished generation, named as in `gajax.Info`:
        `generation` [G], `loss` [G, P], `metrics` (a dict of [G, P]), `failed` [G], and, summed up
        from the start of the run, `gradient_examples`, `forward_examples`, `sequential_steps` and
        `seconds`, which include compilation. All but `generation`, `sequential_steps` and `seconds`
        have an axis S behind G where several seeds run at once.
      position: where the run goes on.

    The history is empty where a state was resumed from that had nothing left to do.

    Example:
      >>> history = {"generation": np.array([0, 1]), "loss": np.array([[2.0, 3.0], [1.0, 2.5]])}
      >>> fit = gajax.Fit(state=None, history=history, position=gajax.Position(2))
      >>> fit.history["loss"].min(axis=1)  # the best of each generation
      array([2., 1.])
    """

    state: Any
    history: dict[str, Any]
    position: Position


def fit(
    algorithm: Algorithm,
    key: Any,
    population: Params,
    data: Data,
    *,
    generations: int | None = None,
    resume_from: Fit | tuple[Any, Position] | None = None,
    progress: bool | None = None,
    callback: Callable[[Any, Info], Any] | None = None,
    together: int | None = None,
) -> Fit:
    """Run an algorithm to its end, and keep what it reports.

    Arguments and errors are those of `gajax.evolve`, but for:

    Args:
      generations: number of the last generation, that of a resumed run too: to add 10 to a run of
        20, give 30.
      resume_from: what an earlier call returned, whose history goes on, or a state and its
        position. The results are those of one longer run, to the bit.
      progress: whether one line on stderr, rewritten all the time, tells the generation, the best
        loss, the share done, the time left and what is being compiled; None where stderr is a
        terminal.
      callback: `callback(state, info)`, called after every finished generation. The run ends there
        if it returns something true.
      together: as in `gajax.evolve`; the history then has a row, and the callback a call, for each
        compiled program only.

    Ctrl-C raises KeyboardInterrupt at once, and the state is lost. A run that must survive it keeps
    its state in files, and resumes from the last one to the bit::

        def keep(state, info):
            gajax.save(state, f"{info.generation}.safetensors", {"next": info.position.generation})

        shapes = gajax.state_shapes(algorithm, key, population, data)
        state = gajax.load("20.safetensors", shapes)
        gajax.fit(..., resume_from=(state, gajax.Position(21)), callback=keep)

    Loggers are callbacks too, TensorBoard and, without a network, Weights & Biases::

        writer = tensorboardX.SummaryWriter("logs")
        def log(state, info):
            writer.add_scalar("loss/best", info.loss.min(), info.generation)

        run = wandb.init(project="gajax", mode="offline")
        def log(state, info):
            run.log({"loss/best": info.loss.min()}, step=info.generation)

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params - 1) ** 2)
      >>> data = gajax.Data(jnp.eye(4), order_key=0)
      >>> population = gajax.init(1, lambda key: jax.random.normal(key, (4,)), size=6)
      >>> algorithm = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=2)
      >>> fit = gajax.fit(algorithm, 2, population, data, generations=2)
      >>> fit = gajax.fit(algorithm, 2, population, data, generations=3, resume_from=fit)
      >>> fit.history["generation"].tolist(), fit.history["loss"].shape
      ([1, 2, 3], (3, 6))
    """
    is_shown = sys.stderr.isatty() if progress is None else progress
    line = _Line(sys.stderr if is_shown else None, generations)
    history: dict[str, Any] = {}
    state = position = None
    if isinstance(resume_from, Fit):
        history, resume_from = resume_from.history, (resume_from.state, resume_from.position)
    if resume_from is not None:
        state, position = resume_from
    steps = loop.evolve(
        algorithm,
        key,
        population,
        data,
        generations=generations,
        seconds=_SECONDS_WITHIN_GENERATION if is_shown and together is None else None,
        together=together,
        resume_from=resume_from,
        donate=callback is None,  # so that a callback may keep states
        on_compile=line.compiling,
    )
    total = {name: history[name][-1] if history else 0 for name in (*_COSTS, "seconds")}
    began = time.perf_counter() - total.pop("seconds")
    rows = []
    try:
        for state, info in steps:
            position = info.position
            total = {name: total[name] + getattr(info, name) for name in _COSTS}
            is_over = False
            if info.done:
                seconds = time.perf_counter() - began
                kept = {name: getattr(info, name) for name in _KEPT}
                rows.append({**kept, **total, "seconds": seconds})
                if callback:
                    line.erase()  # for what the callback may print
                    is_over = callback(state, info)
            line.show(info)
            if is_over:
                break
    finally:
        line.end()
    if rows:
        new = jax.tree.map(lambda *values: np.stack(values), *rows)
        both = (history, new) if history else (new,)
        history = jax.tree.map(lambda *parts: np.concatenate(parts), *both)
    assert position is not None  # the first generation is always done
    return Fit(state, history, Position(*position))


class _Line:
    """One line that is rewritten; nothing at all where there is no stream."""

    def __init__(self, stream: Any, generations: int | None) -> None:
        self._stream, self._generations = stream, generations
        self._counter = self._wanted = self._shown = ""
        self._shown_at = 0.0
        self._start: tuple[float, float] | None = None  # since when nothing compiles, share done

    def compiling(self, stage: str) -> None:
        """Tell it until the next call of `show`."""
        self._start = None
        self._wanted = f"{self._counter}compiling {stage}"
        self._write(self._wanted)

    def show(self, info: Info) -> None:
        """Tell where the run is; frequent calls are cheap."""
        if not self._stream:
            return
        now, last = time.monotonic(), self._generations
        self._counter = f"generation {info.generation}{f'/{last}' if last else ''}  "
        share, left = info.fraction, ""
        if last:  # generation 0, which only scores, takes no share
            share = max(0, info.generation - 1 + info.fraction) / last
            since, before = self._start = self._start or (now, share)
            if before < share < 1:
                seconds = (now - since) * (1 - share) / (share - before)
                left = f"  {timedelta(seconds=int(seconds))} left"
        best = np.min(info.loss, where=np.isfinite(info.loss), initial=np.inf)
        loss = f"best loss {best:.4g}  " if best < np.inf else ""
        self._wanted = f"{self._counter}{loss}{int(100 * share)} %{left}"
        if not self._shown or now - self._shown_at >= _SECONDS_BETWEEN_LINES:
            self._write(self._wanted)

    def erase(self) -> None:
        """Leave an empty line."""
        if self._stream and self._shown:
            self._write("")
            self._stream.write("\r")

    def end(self) -> None:
        """Write the latest line, and go to the next one."""
        if self._stream and self._wanted:
            self._write(self._wanted)
            self._stream.write("\n")

    def _write(self, text: str) -> None:
        if not self._stream:
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"\r{text.ljust(len(self._shown))}")
        self._stream.flush()
        self._shown, self._shown_at = text, time.monotonic()
