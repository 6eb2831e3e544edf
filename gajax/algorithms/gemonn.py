"""Gradient-guided multi-objective evolution of networks: loss against density.

Source: Yang et al., "A Gradient-Guided Evolutionary Approach to Training Deep Neural Networks",
IEEE TNNLS 33(9):4861-4875.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from gajax import fronts
from gajax.context import Loss
from gajax.individual import all_leaves
from gajax.operators import crossover as crossovers
from gajax.operators import mutation as mutations
from gajax.types import Algorithm, LeafPredicate, Params, cached


@cached
def gemonn(
    loss_fn: Loss,
    *,
    batch_size: int,
    objectives: fronts.Objectives = fronts.DENSITY,
    value_and_grad: Loss | None = None,
    crossover: Callable[..., tuple[Params, Params]] = crossovers.gradient_guided_sbx,
    mutation: Callable[..., Params] | None = None,
    hyper_mutation: Callable[..., Any] = mutations.scale,
    refine: fronts.Refine | None = None,
    may_be_zero: LeafPredicate = all_leaves,
    stale_parents: bool = False,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm; its state is a `FrontState` with the signs of gradients.

    A generation takes one batch: the children of gradient-guided crossover and mutation (None:
    each gene that may be zero becomes so with probability 1 / genes) are evaluated on it together
    with the signs of their gradients, and compete with their parents in loss and `objectives`,
    functions of the genes. The parents are scored anew on that batch; with `stale_parents` they
    keep the loss of the batch they were born on, as in the published method. `refine` gives the
    children gradient steps before they compete, on further batches.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((jnp.tanh(batch @ params) @ params.T - batch) ** 2)
      >>> data = gajax.Data(jax.random.normal(jax.random.key(0), (64, 4)), order_key=0)
      >>> densities = gajax.linear_densities(6)
      >>> init_fn = lambda key: jax.random.normal(key, (4, 2))
      >>> population = gajax.init(1, init_fn, 6, densities=densities)
      >>> algorithm = gajax.gemonn(loss_fn, batch_size=16)
      >>> for state, info in gajax.evolve(algorithm, 2, population, data, generations=2):
      ...     print(info.generation, state.objectives["density"].shape)
      0 (6,)
      1 (6,)
      2 (6,)
    """
    return fronts.front(
        loss_fn,
        objectives=objectives,
        crossover=crossover,
        mutation=mutation or partial(mutations.zero, may_be_zero=may_be_zero),
        hyper_mutation=hyper_mutation,
        value_and_grad=value_and_grad,
        guided=True,
        batch_size=batch_size,
        refine=refine,
        stale_parents=stale_parents,
        chunk_size=chunk_size,
    )
