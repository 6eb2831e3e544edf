"""Axis letters and the few types that every module shares.

Letters in shape annotations: S seeds, G generations, P population, B batch, N examples,
T batches of an epoch, M objectives.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, Key, PyTree

Params = PyTree[Array]
"""One individual's genes: any tree of arrays. A population has a leading axis P on each of them."""

LossFn = Callable[..., Float[Array, ""]]
"""`loss_fn(params, batch, *shared)`: the mean loss of one individual on one batch, minimised."""

ValueAndGrad = Callable[..., tuple[Float[Array, ""], Params]]
"""As `jax.value_and_grad(loss_fn)`, for losses whose gradient is special."""

LeafPredicate = Callable[[str, Any], bool]
"""`predicate(path, leaf)`: whether the genes of a leaf may become zero, from the names of the keys
that lead to it, such as "blocks_0/kernel", or from the leaf of one individual itself."""


class Data(NamedTuple):
    """What an algorithm learns from; an argument of every step, so that no program contains it.

    Attributes:
      examples: a tree whose leaves all start with the axis N; a batch is the same tree with B.
      order_key: decides the order of the examples and nothing else, so that methods given the same
        key see the same batches.
      shared: further arguments of the loss that no example owns, such as frozen layers.
    """

    examples: PyTree
    order_key: Key[Array, ""]
    shared: tuple[Any, ...] = ()


class Info(NamedTuple):
    """What one step of an algorithm tells about itself.

    Attributes:
      generation: the generation this step worked on.
      fraction: how much of that generation is done after the step, in (0, 1].
      done: whether the step ended the generation, so that `loss` is new.
      loss: mean loss of every individual at the end of the last whole generation.
      failed: individuals whose loss or genes the end of the generation has found not finite, 0
        before; where children compete with parents, the children, and the parents that were fine.
      gradient_examples: individuals x examples that went through a gradient in this step.
      forward_examples: individuals x examples scored without one in this step.
      sequential_steps: batches that had to follow one another in this step; scoring a population
        counts one, for its batches may all run at once.
    """

    generation: Int[Array, ""]
    fraction: Float[Array, ""]
    done: Bool[Array, ""]
    loss: Float[Array, " P"]
    failed: Int[Array, ""]
    gradient_examples: Int[Array, ""]
    forward_examples: Int[Array, ""]
    sequential_steps: Int[Array, ""]


class Algorithm(NamedTuple):
    """A pair of pure functions that trains a population.

    `init(key, population, data) -> state` and `step(key, state, data) -> (state, info)`. A step
    folds the number of its generation into the key, so every step of a run takes the same key and
    a run does not depend on how its steps are grouped or interrupted. Scalars of a state count its
    steps: they depend on neither the key nor the population.
    """

    init: Callable[[Key[Array, ""], Params, Data], Any]
    step: Callable[[Key[Array, ""], Any, Data], tuple[Any, Info]]
