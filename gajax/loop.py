"""Running an algorithm: the walk of the host over generations, stages and their pieces.

Everything here also runs S seeds at once: give S keys, and a leading axis S to the population and
to what `Data` holds, of length 1 where all seeds share it.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from gajax import population as populations
from gajax import programs, sharding
from gajax.pace import Pace, costs_of, share_done
from gajax.programs import Report
from gajax.types import (
    Algorithm,
    Data,
    Info,
    Params,
    Plan,
    Position,
    as_key,
    require_at_least,
)

NO_DATA = Data(np.zeros(1, np.float32), 0)
"""The data of an algorithm that learns from none."""


def start(algorithm: Algorithm, key: Any, population: Any, data: Data = NO_DATA) -> Any:
    """The algorithm's state before its first generation.

    Example:
      >>> algorithm = gajax.ga(None, survivors=2, batch_size=1)
      >>> state = gajax.start(algorithm, 0, jnp.arange(6.0)[:, None])
      >>> state.params.shape, state.loss.tolist()
      ((6, 1), [inf, inf, inf, inf, inf, inf])
    """
    key, data = as_key(key), with_key(data)
    _check(algorithm, key, population, data)
    return programs.start(algorithm, key, population, data)


def _check(algorithm: Algorithm, key: Key[Array, "*S"], population: Any, data: Data) -> None:
    """Check what belongs to the first seed; they all have the same shapes."""
    data = data._replace(order_key=None)
    if key.ndim:
        population, data = jax.tree.map(lambda leaf: leaf[0], (population, data))
    algorithm.check(population, data)


def evolve(
    algorithm: Algorithm,
    key: Any,
    population: Params,
    data: Data,
    *,
    generations: int | None = None,
    seconds: float | None = None,
    together: int | None = None,
    resume_from: tuple[Any, Position] | None = None,
    donate: bool = False,
    on_compile: Callable[[str], None] | None = None,
) -> Iterator[tuple[Any, Info]]:
    """Yield `(state, info)` after every generation until `generations` of them are done.

    `gajax.best(state)` is the individual of lowest loss. The first generation of an algorithm is
    always done.

    Args:
      key: of `jax.random.key`, or a whole number to make one of.
      generations: number of the last generation; None for an algorithm that ends by itself.
      seconds: yield about that often, within generations too. This changes no bit of the results.
      together: run up to so many generations as one compiled program and yield only behind them,
        with their costs added up. Saves the time of dispatching where a generation is short.
      resume_from: a state and its `info.position` from an earlier call with the same arguments,
        kept or read from a file (`state_shapes` gives its form). The results are those of a run
        without interruption, to the bit.
      donate: reuse the memory of each state that is yielded once the next one is asked for, so
        that it is gone then. Saves the memory of one state and the time of copying it.
      on_compile: called with the name of each stage before this call runs it for the first time,
        when it is compiled unless an earlier call has done so; "generations" for those together.

    Within `jax.set_mesh(gajax.sharding.mesh())` the individuals are shared out to its devices; S
    seeds there go one after another, in runs of their own.

    Several processes, connected by `jax.distributed.initialize`, all call it with the same
    arguments, and stop after the same generation. To save a run, all of them call
    `gajax.sharding.gather(state)` and one writes what it returns by `gajax.save`; to go on, in any
    number of processes, all read that file by `gajax.load` and give it to `resume_from`.

    Raises:
      ValueError: where an argument is out of its range or contradicts another.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params - 1) ** 2)
      >>> data = gajax.Data(jnp.eye(4), order_key=0)
      >>> population = gajax.init(1, lambda key: jax.random.normal(key, (4,)), size=6)
      >>> algorithm = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=2)
      >>> for state, info in gajax.evolve(algorithm, 2, population, data, generations=2):
      ...     print(info.generation, info.position)
      1 Position(generation=2, stage=0, turn=0)
      2 Position(generation=3, stage=0, turn=0)
    """
    key, data = as_key(key), with_key(data)
    require_at_least(0, generations=generations)
    require_at_least(1, together=together)
    if seconds is not None and together is not None:
        raise ValueError("seconds must be left out where generations run together")
    if key.ndim and sharding.device_count() > 1:
        raise ValueError("several seeds at once must be on one device, not in a mesh")
    sizes = (populations.size(tree, axis=key.ndim) for tree in (population, data.examples))
    plan = algorithm.stages(*sizes)
    _check(algorithm, key, population, data)
    first = 0 if plan(0) else 1
    if generations is None and plan(programs.MOST_GENERATIONS):
        raise ValueError("generations must be given for an algorithm that does not end by itself")
    last = programs.MOST_GENERATIONS if generations is None else max(first, generations)
    if generations is not None and not plan(last):
        raise ValueError(f"generations must be fewer than {last}: the algorithm ends before")

    def walk() -> Iterator[tuple[Any, Info]]:
        pace = Pace(seconds, math.prod(key.shape), on_compile)
        pace.is_new("start")
        placed = _place(population, data)
        if resume_from is None:
            state, position = programs.start(algorithm, key, *placed), Position(first)
        else:
            state, position = _resume(resume_from, algorithm, key, placed)
        costs = np.zeros((*key.shape, 3), np.int64)
        while position.generation <= last and (stages := plan(position.generation)):
            setting = stages, position, key, state, placed[1]
            if together and position.stage == position.turn == 0:
                most = min(together, last + 1 - position.generation)
                count = _alike(plan, position.generation, most)
                pace.is_new("generations")
                state, info = _run_generations(*setting, count, costs)
            else:
                state, info = _run_turns(*setting, pace, costs)
            position = info.position
            if info.done or seconds is not None:
                yield state, info
                costs[:] = 0
                state = state if donate else copy(state)

    return walk()


def best(state: Any) -> Params:
    """The individual of lowest loss, or the first where no loss is finite, without its axis P.

    Example:
      >>> algorithm = gajax.ga(None, survivors=2, batch_size=1)
      >>> state = gajax.start(algorithm, 0, jnp.arange(3.0)[:, None])
      >>> gajax.best(state._replace(loss=jnp.array([0.3, 0.1, jnp.nan])))
      Array([1.], dtype=float32)
    """
    index = jnp.argmin(jnp.where(jnp.isfinite(state.loss), state.loss, jnp.inf))
    return populations.take(state.params, index)


def state_shapes(algorithm: Algorithm, key: Any, population: Params, data: Data) -> Any:
    """The state of a run with these arguments, as a tree of `jax.ShapeDtypeStruct`.

    Example:
      >>> algorithm = gajax.ga(None, survivors=2, batch_size=1)
      >>> data = gajax.Data(jnp.zeros(1), order_key=0)
      >>> gajax.state_shapes(algorithm, 0, jnp.ones((6, 3)), data).params
      ShapeDtypeStruct(shape=(6, 3), dtype=float32)
    """
    return jax.eval_shape(
        partial(programs.start, algorithm), as_key(key), population, with_key(data)
    )


def _run_turns(stages, position, key, state, data, pace: Pace, costs) -> tuple[Any, Info]:
    """Run the next piece of a stage, and add what it costs to `costs`."""
    generation, index, turn = position
    stage = stages[index]
    is_new = pace.is_new(stage.name)
    stop = turn + pace.turns(stage, stage.turns - turn)
    began = time.perf_counter()
    setting = (stage.run, stage.cost), index, key, state, data, generation
    state, report = programs.piece(*setting, turn, stop)
    report = jax.device_get(report)
    if not is_new:  # the first piece has waited for its compilation
        pace.record(stage.name, (time.perf_counter() - began) / (stop - turn))
    costs += report.costs + costs_of(stage, turn, stop)
    if stop < stage.turns:
        position = Position(generation, index, stop)
    elif index + 1 < len(stages):
        position = Position(generation, index + 1)
    else:
        position = Position(generation + 1)
    return state, _info(stages, generation, position, stage, report, costs)


def _run_generations(stages, position, key, state, data, count, costs) -> tuple[Any, Info]:
    """Run generations of the same stages as one program, and add what they cost to `costs`."""
    end = position.generation + count
    state, report = programs.run_generations(
        stages, key, state, data, position.generation, count=count
    )
    report = jax.device_get(report)
    costs += report.costs + count * sum(costs_of(stage, 0, stage.turns) for stage in stages)
    return state, _info(stages, end - 1, Position(end), stages[-1], report, costs)


def _info(stages, generation, position: Position, stage, report: Report, costs) -> Info:
    done = position.generation > generation
    fraction = 1.0 if done else share_done(stages, position)
    gradient, forward, steps = np.moveaxis(costs.copy(), -1, 0)
    result = report.loss, report.metrics, report.failed, gradient, forward, int(steps.max())
    return Info(generation, stage.name, fraction, done, *result, position)


def _alike(plan: Plan, generation: int, most: int) -> int:
    """How many generations from that one on have the same stages, at most so many."""
    stages = plan(generation)
    return next((n for n in range(1, most) if plan(generation + n) != stages), most)


def copy(state: Any) -> Any:
    """The state in memory of its own, for programs that reuse that of their argument."""
    if jax.process_count() > 1:  # device_put takes no arrays that lie on other hosts too
        return jax.tree.map(jnp.copy, state)
    return jax.device_put(state, may_alias=False)  # compiles nothing


def _resume(
    resume_from: tuple[Any, Position],
    algorithm: Algorithm,
    key: Key[Array, "*S"],
    placed: tuple[Params, Data],
) -> tuple[Any, Position]:
    """The state, copied so that the caller can resume from it again, and its position."""
    state, position = resume_from
    state = copy(state if key.ndim else algorithm.arrange(state))
    if sharding.device_count() > 1:
        started = programs.start.lower(algorithm, key, *placed).compile()
        state = jax.device_put(state, started.output_shardings)
    return state, Position(*position)


def with_key(data: Data) -> Data:
    """The data with a typed key."""
    return data._replace(order_key=as_key(data.order_key))


def _place(population: Params, data: Data) -> tuple[Params, Data]:
    """Population and data on the devices, where arrays of NumPy are put once."""
    if sharding.device_count() > 1:
        return programs.share_out(population, data)
    return jax.device_put((population, data))
