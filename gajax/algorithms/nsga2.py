"""Plain multi-objective evolution of networks: the rival of `gemonn` that knows no gradients.

Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6(2).
"""

from collections.abc import Callable
from typing import Any

from gajax import fronts
from gajax.context import Loss
from gajax.operators import crossover as crossovers
from gajax.operators import mutation as mutations
from gajax.types import Algorithm, Params, cached


@cached
def nsga2(
    loss_fn: Loss | None,
    *,
    batch_size: int,
    objectives: fronts.Objectives = fronts.DENSITY,
    crossover: Callable[..., tuple[Params, Params]] = crossovers.sbx,
    mutation: Callable[..., Params] = mutations.polynomial,
    hyper_mutation: Callable[..., Any] = mutations.scale,
    refine: fronts.Refine | None = None,
    value_and_grad: Loss | None = None,
    stale_parents: bool = False,
    chunk_size: int | None = None,
) -> Algorithm:
    """Make the algorithm; its state is a `FrontState` without signs.

    A generation takes one batch, on which the children of crossover and mutation are scored, and
    compete with their parents in loss and `objectives`, functions of the genes. The parents are
    scored anew on that batch; with `stale_parents` they keep the loss of the batch they were born
    on. `refine` gives the children gradient steps before they compete, on further batches;
    `value_and_grad` serves nothing else.

    Example:
      >>> def loss_fn(params, batch):
      ...     return jnp.mean((batch @ params - 1) ** 2)
      >>> data = gajax.Data(jnp.eye(4), order_key=0)
      >>> population = gajax.init(1, lambda key: jax.random.normal(key, (4,)), size=6)
      >>> algorithm = gajax.nsga2(loss_fn, batch_size=4)
      >>> for state, info in gajax.evolve(algorithm, 2, population, data, generations=2):
      ...     print(info.generation, info.gradient_examples, info.forward_examples)
      0 0 24
      1 0 48
      2 0 48
    """
    return fronts.front(
        loss_fn,
        objectives=objectives,
        crossover=crossover,
        mutation=mutation,
        hyper_mutation=hyper_mutation,
        value_and_grad=value_and_grad,
        guided=False,
        batch_size=batch_size,
        refine=refine,
        stale_parents=stale_parents,
        chunk_size=chunk_size,
    )
