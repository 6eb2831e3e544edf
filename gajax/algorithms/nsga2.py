"""Plain multi-objective evolution of networks: the rival of `gemonn` that knows no gradients.

Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6(2).
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Key

from gajax import evaluation, fronts
from gajax import population as populations
from gajax.operators import crossover as crossovers
from gajax.operators import mutation as mutations
from gajax.types import Algorithm, LossFn, Params, ValueAndGrad, cached


@cached
def nsga2(
    loss_fn: LossFn,
    *,
    batch_size: int,
    crossover: Callable[..., tuple[Params, Params]] = crossovers.sbx,
    mutation: Callable[..., Params] | None = None,
    refine: fronts.Refine | None = None,
    value_and_grad: ValueAndGrad | None = None,
    stale_parents: bool = False,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm; its state is a `FrontState` without a guide.

    A generation takes one batch, on which the children of crossover and mutation (None:
    polynomial, of each gene with probability 1 / genes) are scored, and compete with their parents
    in loss and density. The parents are scored anew on that batch; with `stale_parents` they keep
    the loss of the batch they were born on. `refine` gives the children gradient steps before they
    compete, on further batches; `value_and_grad` matters to nothing else.
    """
    value_and_grad = value_and_grad or jax.value_and_grad(loss_fn)

    def cross(
        key: Key[Array, ""], mother: tuple[Params, None], father: tuple[Params, None]
    ) -> tuple[Params, Params]:
        return crossover(key, mother[0], father[0])

    def mutate(key: Key[Array, ""], child: Params) -> Params:
        if mutation is not None:
            return mutation(key, child)
        return mutations.polynomial(key, child, rate=1 / populations.genes(child))

    def evaluate(population: Params, batch: Any, shared: tuple[Any, ...]) -> Any:
        losses = evaluation.batch_losses(loss_fn, population, batch, shared, chunk_size=chunk_size)
        return losses, None

    return fronts.front(
        loss_fn,
        evaluate,
        cross,
        mutate,
        value_and_grad,
        guided=False,
        batch_size=batch_size,
        refine=refine,
        stale_parents=stale_parents,
        chunk_size=chunk_size,
    )
