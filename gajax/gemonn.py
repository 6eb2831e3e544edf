"""Gradient-guided multi-objective evolution of networks: loss against density.

Source: Yang et al., "A Gradient-Guided Evolutionary Approach to Training Deep Neural Networks",
IEEE TNNLS 33(9):4861-4875.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jaxtyping import Array, Key

from gajax import crossover as crossovers
from gajax import evaluation, fronts
from gajax import mutation as mutations
from gajax import population as populations
from gajax.types import Algorithm, LeafPredicate, LossFn, Params, ValueAndGrad


def gemonn(
    loss_fn: LossFn,
    *,
    batch_size: int,
    value_and_grad: ValueAndGrad | None = None,
    crossover: Callable[..., tuple[Params, Params]] = crossovers.gradient_guided_sbx,
    mutation: Callable[..., Params] | None = None,
    refine: fronts.Refine | None = None,
    may_be_zero: LeafPredicate = populations.every_leaf,
    stale_parents: bool = False,
    chunk_size: int | None = None,
    examples_per_step: int | None = None,
) -> Algorithm:
    """Make the algorithm; its state is a `FrontState` with gradient signs as guide.

    A generation takes one batch: the children of gradient-guided crossover and mutation (None:
    each gene that may be zero becomes so with probability 1 / genes) are evaluated on it together
    with the signs of their gradients, and compete with their parents in loss and density. The
    parents are scored anew on that batch; with `stale_parents` they keep the loss of the batch they
    were born on, as in the published method. `refine` gives the children gradient steps before they
    compete, on further batches.

    A step is a generation, or a part of its refinement: at most about `examples_per_step`
    individuals x examples through a gradient.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)

    def breed(
        key: Key[Array, ""], first: Params, second: Params, *signs: Params
    ) -> tuple[Params, Params]:
        key_cross, *keys = jax.random.split(key, 3)
        rate = 1 / populations.genes(first)
        mutate = mutation or partial(mutations.zero, rate=rate, may_be_zero=may_be_zero)
        children = crossover(key_cross, first, second, *signs)
        older, younger = map(mutate, keys, children)
        return older, younger

    def evaluate(population: Params, batch: Any, shared: tuple[Any, ...]) -> Any:
        return evaluation.batch_losses_and_signs(
            value_and_grad, population, batch, shared, chunk_size=chunk_size
        )

    return fronts.front(
        loss_fn,
        evaluate,
        breed,
        value_and_grad,
        guided=True,
        batch_size=batch_size,
        refine=refine,
        stale_parents=stale_parents,
        chunk_size=chunk_size,
        examples_per_step=examples_per_step,
    )
