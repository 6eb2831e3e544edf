"""Axis letters and the few types that every module shares.

Letters in shape annotations: S seeds, G generations, P population, B batch, N examples,
T batches, M objectives.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

_MOST_KEPT = 64

Params = PyTree[Array]
"""One individual's genes: any tree of arrays. A population has a leading axis P on each of them."""

LossFn = Callable[..., Float[Array, ""]]
"""`loss_fn(params, batch, *shared)`: the mean loss of one individual on one batch, minimised."""

ValueAndGrad = Callable[..., tuple[Float[Array, ""], Params]]
"""As `jax.value_and_grad(loss_fn)`, for losses whose gradient is special."""

Optimizer = optax.GradientTransformation | Callable[[Any], optax.GradientTransformation]
"""An optimiser, or a function that makes it of the hyper-parameters of one individual."""

LeafPredicate = Callable[[str, Any], bool]
"""`predicate(path, leaf)`: whether the genes of a leaf may become zero, from the names of the keys
that lead to it, such as "blocks_0/kernel", or from the leaf of one individual itself."""


class Data(NamedTuple):
    """What an algorithm learns from; an argument of every program, so that none contains it.

    Attributes:
      examples: a tree whose leaves all start with the axis N; a batch is the same tree with B.
      order_key: decides the order of the examples and nothing else, so that methods given the same
        key see the same batches; whatever `as_key` takes.
      shared: further arguments of the loss that belong to no example, such as frozen layers.

    Example:
      >>> data = gajax.Data({"images": np.zeros((9, 28, 28)), "labels": np.zeros(9)}, order_key=0)
      >>> data.shared
      ()
    """

    examples: PyTree
    order_key: Any
    shared: tuple[Any, ...] = ()


class Outside(NamedTuple):
    """How losses that JAX cannot trace take the place of those of a stage.

    Attributes:
      population: `population(state)`, the individuals that the stage evaluates.
      record: `record(state, loss) -> state`, what the stage makes of their losses.
      also_runs: whether the stage runs all the same before, for the signs of gradients.
    """

    population: Callable[[Any], Any]
    record: Callable[[Any, Float[Array, " P"]], Any]
    also_runs: bool = False


class Stage(NamedTuple):
    """A part of a generation: a pure function of the state that the host may cut into pieces.

    `run(key, state, data, generation, start, stop) -> state` does the turns `start` to `stop`.
    Pieces one after another give the same bits as all turns at once. The key is the same for all
    pieces of a stage and differs between stages and generations.

    Attributes:
      run: the function; its name is the name of the stage.
      turns: number of turns, such as batches.
      gradient_examples: individuals x examples through a gradient in all turns.
      forward_examples: individuals x examples through a loss alone in all turns.
      sequential_steps: batches that have to follow one another in all turns.
      cost: `cost(state, generation, start, stop) -> (gradient examples, forward examples)` of some
        turns where they depend on the state; the numbers above are then the largest possible.
      outside: for a stage whose losses `gajax.tell` can give.

    Example:
      >>> def score(key, state, data, generation, start, stop):
      ...     return state
      >>> gajax.Stage(score, turns=4, forward_examples=4_000).name
      'score'
    """

    run: Callable[..., Any]
    turns: int = 1
    gradient_examples: int = 0
    forward_examples: int = 0
    sequential_steps: int = 0
    cost: Callable[..., tuple[Array, Array]] | None = None
    outside: Outside | None = None

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.run.__name__


Plan = Callable[[int], tuple[Stage, ...]]
"""`plan(generation)`: the stages of a generation, empty before the first one and behind the last.

Generations are counted from 0 where the initial population is evaluated, else from 1."""


class Algorithm(NamedTuple):
    """A pair of functions that trains a population.

    Every state has the fields `params` [P, ...], the individuals; `loss` [P], that of each at the
    end of the last generation; and `failed`, the number of individuals that this end found with a
    loss or genes that are not finite. It may have `metrics`, a dict of [P].

    Attributes:
      init: `init(key, population, data) -> state`.
      stages: `stages(P, N) -> plan` for a population size and a number of examples. Equal arguments
        give the same objects, so that nothing is compiled twice.
      check: `check(population, data)` raises ValueError where these, or what the algorithm was made
        of, do not fit together.
      arrange: `arrange(state)` gives a state that comes from a run on any number of devices as
        those of the mesh need it. Only where the places of individuals depend on that number.

    Example:
      >>> def init(key, population, data):
      ...     return population
      >>> gajax.Algorithm(init, lambda size, examples: lambda generation: ()).stages(8, 100)(1)
      ()
    """

    init: Callable[[Key[Array, ""], Params, Data], Any]
    stages: Callable[[int, int], Plan]
    check: Callable[[Any, Data], None] = lambda population, data: None
    arrange: Callable[[Any], Any] = lambda state: state


class Position(NamedTuple):
    """Where a run stands: what it does next.

    Attributes:
      generation: number of the generation.
      stage: index of the stage among those of the generation.
      turn: the first turn of the stage that has not been done.

    Example:
      >>> gajax.Position(3)  # the beginning of generation 3
      Position(generation=3, stage=0, turn=0)
    """

    generation: int
    stage: int = 0
    turn: int = 0


class Info(NamedTuple):
    """What has been done since the state before.

    With several seeds at once, `loss`, `metrics`, `failed` and the two kinds of examples have their
    axis S.

    Attributes:
      generation: the generation that has been worked on.
      stage: name of the stage that has been worked on.
      fraction: share of the generation that is done, by cost, in [0, 1].
      done: whether the generation has ended, so that `loss` and `failed` are new.
      loss: loss of every individual at the end of the last whole generation.
      metrics: what `context.Output` has named, likewise.
      failed: individuals that this end has found with a loss or genes that are not finite.
      gradient_examples: individuals x examples that went through a gradient.
      forward_examples: individuals x examples that went through a loss alone.
      sequential_steps: batches that had to follow one another; scoring a population counts as one,
        for its batches may all run at once.
      position: where the run goes on.

    Example:
      >>> algorithm = gajax.ga(lambda w, x: (x @ w).mean(), survivors=2, batch_size=4)
      >>> data = gajax.Data(jnp.ones((8, 2)), order_key=0)
      >>> steps = gajax.evolve(algorithm, 0, jnp.ones((4, 2)), data, generations=0)
      >>> state, info = next(steps)
      >>> info.generation, info.done, info.loss, info.failed.item()
      (0, True, array([2., 2., 2., 2.], dtype=float32), 0)
    """

    generation: int
    stage: str
    fraction: float
    done: bool
    loss: Float[np.ndarray, "*S P"]
    metrics: dict[str, Float[np.ndarray, "*S P"]]
    failed: Int[np.ndarray, "*S"]
    gradient_examples: Int[np.ndarray, "*S"]
    forward_examples: Int[np.ndarray, "*S"]
    sequential_steps: int
    position: Position


def as_key(key: Any) -> Key[Array, "..."]:
    """The typed key of a whole number, of what `jax.random.PRNGKey` gives, or of a typed key.

    An array of these gives an array of keys. ValueError where it is none of them.
    """
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array | np.ndarray):
        if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            return key
        if key.dtype == np.uint32 and key.shape[-1:] == jax.eval_shape(jax.random.PRNGKey, 0).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
    raise ValueError(f"a key must be a whole number or made by jax.random.key, not {key!r}")


def require_at_least(lowest: int, **arguments: int | None) -> None:
    """ValueError where an argument is neither None nor `lowest` or more."""
    for name, value in arguments.items():
        if value is not None and value < lowest:
            raise ValueError(f"{name} must be {lowest} or more, not {value}")


def require_batch_size(batch_size: int, most: int) -> None:
    """ValueError where a batch size is not from 1 to `most`."""
    if not 0 < batch_size <= most:
        raise ValueError(f"batch_size must be from 1 to {most}, not {batch_size}")


def cached(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function return the same for equal arguments, so that an algorithm compiles once.

    Functions are equal to themselves alone, `functools.partial` objects where their parts are.
    Arguments that cannot be compared, such as arrays, give a new result on every call.
    """
    made: dict[Any, Any] = {}

    @wraps(factory)
    def make(*positional: Any, **named: Any) -> Any:
        arguments = _comparable((positional, named))
        try:
            hash(arguments)
        except TypeError:
            return factory(*positional, **named)
        if arguments not in made:
            if len(made) >= _MOST_KEPT:
                del made[next(iter(made))]  # the oldest
            made[arguments] = factory(*positional, **named)
        return made[arguments]

    return make


def _comparable(value: Any) -> Any:
    if isinstance(value, partial):
        return partial, _comparable((value.func, value.args, value.keywords))
    if isinstance(value, dict):
        return dict, tuple((name, _comparable(value[name])) for name in sorted(value))
    if isinstance(value, tuple):
        return type(value), tuple(map(_comparable, value))
    return type(value), value
