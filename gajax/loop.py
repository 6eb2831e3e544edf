"""Running an algorithm: the only place where gajax compiles.

Everything here also runs S seeds at once: give S keys, and a leading axis S to the population and
to what `Data` holds, of length 1 where all seeds share it.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key

from gajax import evaluation, sharding
from gajax import population as populations
from gajax.types import Algorithm, Data, Info, Params, Plan, Position, Stage, require_at_least

_MOST_GENERATIONS = 2**31 - 1


class _Report(NamedTuple):
    """What a program gives beside its state; `examples` counts those that `Stage.cost` tells."""

    loss: Any
    failed: Any
    examples: Any


@partial(jax.jit, static_argnames="algorithm")
def start(algorithm: Algorithm, key: Key[Array, "*S"], population: Params, data: Data) -> Any:
    """The algorithm's state before its first generation."""
    # A copy, because jit would hand the population on as it is, and the first piece donates it.
    population = jax.tree.map(jnp.copy, population)

    def init(key: Array, population: Params, data: Data) -> Any:
        # The keys of generations are folded in from 0 on.
        return algorithm.init(jax.random.fold_in(key, _MOST_GENERATIONS), population, data)

    return _for_each_seed(init, key, population, data)


def evolve(
    algorithm: Algorithm,
    key: Key[Array, "*S"],
    population: Params,
    data: Data,
    *,
    generations: int | None = None,
    seconds: float | None = None,
    together: int | None = None,
    resume_from: tuple[Any, Position] | None = None,
    on_compile: Callable[[str], None] | None = None,
) -> Iterator[tuple[Any, Info]]:
    """Yield `(state, info)` after every generation until `generations` of them are done.

    `gajax.best(state)` is the individual of lowest loss. The memory of a state is reused once the
    next one is asked for. The first generation of an algorithm is always done.

    Args:
      generations: number of the last generation; None for an algorithm that ends by itself.
      seconds: yield about that often, within generations too. This changes no bit of the results.
      together: run up to so many generations as one compiled program and yield only behind them,
        with their costs added up. Saves the time of dispatching where a generation is short.
      resume_from: a state and its `info.position` from an earlier call with the same arguments,
        kept or read from a file (`state_shapes` gives its form). The results are those of a run
        without interruption, to the bit.
      on_compile: called with the name of each stage before this call runs it for the first time,
        when it is compiled unless an earlier call has done so.

    Within `jax.set_mesh(gajax.sharding.mesh())` the individuals are shared out to its devices; S
    seeds there go one after another, in runs of their own.

    Raises:
      ValueError: where an argument is out of its range or contradicts another.
    """
    require_at_least(0, generations=generations)
    require_at_least(1, together=together)
    if seconds is not None and together is not None:
        raise ValueError("seconds must be left out where generations run together")
    if key.ndim and sharding.device_count() > 1:
        raise ValueError("several seeds at once must be on one device, not in a mesh")
    plan = algorithm.stages(*_sizes(key, population, data))
    first = 0 if plan(0) else 1
    if generations is None and plan(_MOST_GENERATIONS):
        raise ValueError("generations must be given for an algorithm that does not end by itself")
    last = _MOST_GENERATIONS if generations is None else max(first, generations)
    if generations is not None and not plan(last):
        raise ValueError(f"generations must be fewer than {last}: the algorithm ends before")
    pace = _Pace(seconds, math.prod(key.shape), on_compile)

    def walk() -> Iterator[tuple[Any, Info]]:
        placed = _place(population, data)
        pace.announce("start")
        if resume_from is None:
            state, position = start(algorithm, key, *placed), Position(first)
        else:
            state, position = _resume(resume_from, algorithm, key, placed)
        since = None
        while position.generation <= last and (stages := plan(position.generation)):
            setting = stages, position, key, state, placed[1]
            if together and position.stage == position.turn == 0:
                most = min(together, last + 1 - position.generation)
                state, info = _run_generations(*setting, _alike(plan, position.generation, most))
            else:
                state, info = _run_turns(*setting, pace)
            position = info.position
            since = info if since is None else _add(since, info)
            if info.done or seconds is not None:
                yield state, since
                since = None

    return walk()


@partial(jax.jit, static_argnames=("stages", "count"), donate_argnames="state")
def run_generations(
    stages: tuple[Stage, ...],
    key: Key[Array, "*S"],
    state: Any,
    data: Data,
    first: int | Int[Array, ""],
    *,
    count: int = 1,
) -> tuple[Any, Any]:
    """Run `count` generations of the same stages, from number `first` on, as one program.

    The memory of the state is reused. Returns the state, and the losses, failures and examples that
    `evolve` makes its infos of.
    """
    parts = tuple(
        (index, stage.run, stage.cost, 0, stage.turns) for index, stage in enumerate(stages)
    )

    def one(carry, generation):
        state, before = carry
        state, report = _each(parts, key, state, data, generation)
        return (state, _Report(*report[:2], report.examples + before.examples)), None

    nothing = _Report(state.loss, state.failed, jnp.zeros((*key.shape, 2), jnp.int32))
    (state, report), _ = lax.scan(one, (state, nothing), first + jnp.arange(count))
    return state, report


def best(state: Any) -> Params:
    """The individual of lowest loss, or the first where no loss is finite, without its axis P."""
    index = jnp.argmin(jnp.where(jnp.isfinite(state.loss), state.loss, jnp.inf))
    return populations.take(state.params, index)


def state_shapes(
    algorithm: Algorithm, key: Key[Array, "*S"], population: Params, data: Data
) -> Any:
    """The state of a run with these arguments, as a tree of `jax.ShapeDtypeStruct`."""
    return jax.eval_shape(partial(start, algorithm), key, population, data)


class _Pace:
    """How many turns a piece has, by the time that the pieces before it have taken."""

    def __init__(
        self, seconds: float | None, seeds: int, on_compile: Callable[[str], None] | None
    ) -> None:
        self._seconds, self._seeds, self._on_compile = seconds, seeds, on_compile
        self._seconds_per_turn: dict[str, float | None] = {}

    def announce(self, name: str) -> bool:
        """Whether a stage runs for the first time, which is reported before."""
        is_first = name not in self._seconds_per_turn
        if is_first:
            self._seconds_per_turn[name] = None
            if self._on_compile:
                self._on_compile(name)
        return is_first

    def turns(self, stage: Stage, first: int) -> int:
        """Turns of the next piece, which starts with the turn `first`."""
        left = stage.turns - first
        if self._seconds is None:
            return left
        per_turn = self._seconds_per_turn[stage.name]
        if per_turn is None:
            examples = (stage.gradient_examples + stage.forward_examples / 3) / stage.turns
            per_turn = self._seeds * examples / evaluation.default_examples_per_second()
        fitting = self._seconds / per_turn if per_turn else left
        pieces = math.ceil(left / max(1, int(min(left, fitting))))
        return math.ceil(left / pieces)

    def record(self, name: str, seconds_per_turn: float) -> None:
        """Learn from a piece; several processes cut alike, by the number of examples alone."""
        if jax.process_count() == 1:
            self._seconds_per_turn[name] = seconds_per_turn


def _run_turns(
    stages: tuple[Stage, ...],
    position: Position,
    key: Key[Array, "*S"],
    state: Any,
    data: Data,
    pace: _Pace,
) -> tuple[Any, Info]:
    """Run the next piece of a stage."""
    generation, index, turn = position
    stage = stages[index]
    is_first = pace.announce(stage.name)
    stop = turn + pace.turns(stage, turn)
    began = time.perf_counter()
    programs = stage.run, stage.cost
    state, report = _piece(programs, index, key, state, data, generation, turn, stop)
    report = jax.device_get(report)
    if not is_first:  # the first piece has waited for its compilation
        pace.record(stage.name, (time.perf_counter() - began) / (stop - turn))
    if stop < stage.turns:
        position = Position(generation, index, stop)
    else:
        is_last = index + 1 == len(stages)
        position = Position(generation + 1) if is_last else Position(generation, index + 1)
    return state, _info(stages, generation, position, stage, report, _counts(stage, turn, stop))


def _run_generations(
    stages: tuple[Stage, ...],
    position: Position,
    key: Key[Array, "*S"],
    state: Any,
    data: Data,
    count: int,
) -> tuple[Any, Info]:
    """Run generations of the same stages as one program."""
    first = position.generation
    state, report = run_generations(stages, key, state, data, first, count=count)
    counts = count * np.sum([_counts(stage, 0, stage.turns) for stage in stages], axis=0)
    position, report = Position(first + count), jax.device_get(report)
    return state, _info(stages, first + count - 1, position, stages[-1], report, counts)


@partial(jax.jit, static_argnames="programs", donate_argnames="state")
def _piece(programs, index, key, state, data, generation, start, stop):
    """Do the turns `start` to `stop` of a stage, given by its functions and its index."""
    return _each(((index, *programs, start, stop),), key, state, data, generation)


def _each(parts, key, state, data, generation) -> tuple[Any, _Report]:
    """Run stages or parts of them for one seed, or for each."""

    def one(key: Array, state: Any, data: Data) -> tuple[Any, _Report]:
        key = jax.random.fold_in(key, generation)
        examples = jnp.zeros(2, jnp.int32)
        for index, run, cost, start, stop in parts:
            if cost:
                examples += jnp.stack(cost(state, generation, start, stop)).astype(jnp.int32)
            key_stage = jax.random.fold_in(key, index)
            state = run(key_stage, state, data, generation, start, stop)
        return state, _Report(state.loss, state.failed, examples)

    state, report = _for_each_seed(one, key, state, data)
    return state, sharding.replicate(report)  # so that every host can read it


def _counts(stage: Stage, start: int, stop: int) -> np.ndarray:
    """Gradient examples, forward examples and sequential steps of turns, without `stage.cost`."""
    known = 0, 0
    if stage.cost is None:
        known = stage.gradient_examples, stage.forward_examples
    totals = np.array([*known, stage.sequential_steps], np.int64)
    return totals * stop // stage.turns - totals * start // stage.turns


def _info(
    stages: tuple[Stage, ...],
    generation: int,
    position: Position,
    stage: Stage,
    report: _Report,
    counts: np.ndarray,
) -> Info:
    done = position.generation > generation
    weights = [stage.gradient_examples + stage.forward_examples / 3 for stage in stages]
    fraction = 1.0
    if not done:
        turns = stages[position.stage].turns
        behind = sum(weights[: position.stage]) + weights[position.stage] * position.turn / turns
        fraction = behind / max(1, sum(weights))
    gradient, forward = (np.asarray(report.examples + counts[:2])[..., kind] for kind in (0, 1))
    numbers = report.loss, report.failed, gradient, forward, int(counts[2])
    return Info(generation, stage.name, fraction, done, *numbers, position)


def _add(before: Info, info: Info) -> Info:
    """The later info with the costs of both."""
    return info._replace(
        gradient_examples=before.gradient_examples + info.gradient_examples,
        forward_examples=before.forward_examples + info.forward_examples,
        sequential_steps=before.sequential_steps + info.sequential_steps,
    )


def _alike(plan: Plan, generation: int, most: int) -> int:
    """How many generations from that one on have the same stages, at most so many."""
    stages = plan(generation)
    return next((n for n in range(1, most) if plan(generation + n) != stages), most)


def _resume(
    resume_from: tuple[Any, Position],
    algorithm: Algorithm,
    key: Key[Array, "*S"],
    placed: tuple[Params, Data],
) -> tuple[Any, Position]:
    """The state, copied so that the caller can go on from it again, and its position."""
    state, position = resume_from
    state = jax.tree.map(jnp.copy, state)
    if sharding.device_count() > 1:
        started = start.lower(algorithm, key, *placed).compile()
        state = jax.device_put(state, started.output_shardings)
    return state, Position(*position)


def _sizes(key: Key[Array, "*S"], population: Params, data: Data) -> tuple[int, int]:
    """Population size and number of examples."""
    if key.ndim:
        population, data = jax.eval_shape(
            lambda *trees: populations.take(trees, 0), population, data
        )
    return populations.size(population), evaluation.example_count(data)


def _place(population: Params, data: Data) -> tuple[Params, Data]:
    """Population and data on the devices, where arrays of NumPy are put once."""
    if sharding.device_count() > 1:
        return _share_out(population, data)
    return jax.device_put((population, data))


@jax.jit
def _share_out(population: Params, data: Data) -> tuple[Params, Data]:
    """Compiled, because only a program takes the arrays of one host for those of many."""
    return sharding.place(population), sharding.replicate(data)


def _side_by_side() -> bool:
    """Whether seeds run at the same time: a CPU is as fast with one after another."""
    return jax.default_backend() != "cpu"


def _for_each_seed(
    function: Callable[..., Any], key: Key[Array, "*S"], tree: Any, data: Data
) -> Any:
    """`function(key, tree, data)` of every seed, or as it is without an axis S."""
    if not key.ndim:
        return function(key, tree, data)
    leaves, structure = jax.tree.flatten(data)
    mapped = [leaf if len(leaf) > 1 else None for leaf in leaves]  # the others are shared

    def one(arguments: tuple[Array, Any, list[Array | None]]) -> Any:
        key, tree, mapped = arguments
        pairs = zip(leaves, mapped, strict=True)
        merged = [leaf[0] if of_seed is None else of_seed for leaf, of_seed in pairs]
        return function(key, tree, jax.tree.unflatten(structure, merged))

    run = jax.vmap(one) if _side_by_side() else partial(lax.map, one)
    return run((key, tree, mapped))
