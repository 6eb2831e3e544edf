"""Plain multi-objective evolution of networks: the rival of `gemonn` that knows no gradients.

Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6(2).
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
from gajax.types import Algorithm, LossFn, Params, ValueAndGrad


def nsga2(
    loss_fn: LossFn,
    *,
    batch_size: int,
    value_and_grad: ValueAndGrad | None = None,
    crossover: Callable[..., tuple[Params, Params]] = crossovers.sbx,
    mutation: Callable[..., Params] | None = None,
    refine: fronts.Refine | None = None,
    stale_parents: bool = False,
    chunk_size: int | None = None,
    examples_per_step: int | None = None,
) -> Algorithm:
    """Make the algorithm; its state is a `FrontState` without a guide.

    A generation takes one batch, on which the children of crossover and mutation (None:
    polynomial, of each gene with probability 1 / genes) are scored, and compete with their parents
    in loss and density. The parents are scored anew on that batch; with `stale_parents` they keep
    the loss of the batch they were born on. `refine` gives the children gradient steps before they
    compete, on further batches; `value_and_grad` matters to nothing else.

    A step is a generation, or a part of its refinement: at most about `examples_per_step`
    individuals x examples through a gradient.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)

    def breed(
        key: Key[Array, ""], first: Params, second: Params, *guides: None
    ) -> tuple[Params, Params]:
        del guides
        key_cross, *keys = jax.random.split(key, 3)
        mutate = mutation or partial(mutations.polynomial, rate=1 / populations.genes(first))
        older, younger = map(mutate, keys, crossover(key_cross, first, second))
        return older, younger

    def evaluate(population: Params, batch: Any, shared: tuple[Any, ...]) -> Any:
        losses = evaluation.batch_losses(loss_fn, population, batch, shared, chunk_size=chunk_size)
        return losses, None

    return fronts.front(
        loss_fn,
        evaluate,
        breed,
        value_and_grad,
        guided=False,
        batch_size=batch_size,
        refine=refine,
        stale_parents=stale_parents,
        chunk_size=chunk_size,
        examples_per_step=examples_per_step,
    )
