"""What users give, looked at before anything is compiled.

`jax.eval_shape` runs their functions on shapes alone. Every error is a ValueError of one sentence
that names the argument and says what would be right.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gajax import context as contexts
from gajax import population as populations
from gajax.context import Loss, Output, WithContext
from gajax.individual import Individual, genes_of, leaves_by_path
from gajax.types import Data, Optimizer, cached

KEY = jax.ShapeDtypeStruct((), jax.eval_shape(lambda: jax.random.key(0)).dtype)


def check_training(
    loss_fn: Loss | None,
    value_and_grad: Loss | None,
    optimizer: Optimizer,
    population: Any,
    data: Data,
    batch_size: int,
) -> None:
    """What every algorithm needs whose individuals learn."""
    check_genes(population)
    check_loss(loss_fn, value_and_grad, population, data, batch_size)
    check_optimizer(optimizer, population)


def check_genes(population: Any) -> None:
    """Genes must be floating-point arrays with at least one element in each leaf."""
    genes = genes_of(population)
    if not jax.tree.leaves(genes):
        raise ValueError("the population must have genes, not an empty tree")
    for path, leaf in leaves_by_path(genes).items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"genes must be floating-point numbers, but {path!r} is {leaf.dtype}: leave such "
                "leaves out of the genes, or put them into gajax.Individual.state"
            )
        if not leaf.size:
            raise ValueError(f"genes must not be empty, but {path!r} has the shape {leaf.shape}")
    if isinstance(population, Individual):
        for path, leaf in leaves_by_path(population.hyper).items():
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(
                    f"hyper-parameters must be floating-point numbers, but {path!r} is {leaf.dtype}"
                )


def check_loss(
    loss_fn: Loss | None,
    value_and_grad: Loss | None,
    population: Any,
    data: Data,
    batch_size: int,
) -> None:
    """The loss must be a number for one individual and a batch, its gradient a tree of genes."""
    if loss_fn is None:
        return
    individual = _one(population)
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), data.examples
    )
    setting = individual, batch, data.shared
    result = _shapes("loss_fn", partial(_call, loss_fn, False), *setting)
    _check_output("loss_fn", loss_fn, result, individual)
    if value_and_grad is None:
        return
    pair = _shapes("value_and_grad", partial(_call, value_and_grad, True), *setting)
    if type(pair) is not tuple or len(pair) != 2:
        raise ValueError("value_and_grad must return a loss and a gradient")
    _check_output("value_and_grad", value_and_grad, pair[0], individual)
    _check_same("the gradient of value_and_grad", pair[1], genes_of(individual), dtypes=False)


def check_optimizer(optimizer: Optimizer, population: Any) -> None:
    """An optimiser, or a function that makes one of the hyper-parameters of an individual."""
    individual = _one(population)
    is_made = not isinstance(optimizer, optax.GradientTransformation)
    if is_made and not (callable(optimizer) and isinstance(individual, Individual)):
        raise ValueError(
            "optimizer must be one of optax, or a function that makes one of the hyper-parameters "
            f"of a population of gajax.Individual, not {optimizer!r}"
        )
    hyper = individual.hyper if is_made else ()
    updates = _shapes("optimizer", partial(_step, optimizer), genes_of(individual), hyper)
    _check_same("the updates of optimizer", updates, genes_of(individual), dtypes=False)


def _step(optimizer: Optimizer, genes: Any, hyper: Any) -> Any:
    made = optimizer
    if not isinstance(made, optax.GradientTransformation):
        made = made(hyper)
        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(f"it must make an optimiser of optax, not {made!r}")
    loss = jnp.zeros(())
    extra = {"value": loss, "grad": genes, "value_fn": lambda genes: loss}
    update = optax.with_extra_args_support(made).update
    return update(genes, made.init(genes), genes, **extra)[0]


def check_operators(
    crossover: Callable[..., Any],
    mutation: Callable[..., Any],
    hyper_mutation: Callable[..., Any],
    population: Any,
    *,
    guided: bool = False,
    parents: int = 2,
) -> None:
    """Crossover must give a child for each parent, mutation one, all with the parents' leaves."""
    individual = _one(population)
    genes = genes_of(individual)
    signs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.int8), genes)
    given = *[genes] * parents, *[signs] * parents * guided
    children = _shapes("crossover", crossover, KEY, *given)
    if not isinstance(children, tuple | list) or len(children) != parents:
        raise ValueError(f"crossover must return {parents} children of {parents} parents")
    for child in children:
        _check_same("a child of crossover", child, genes)
    _check_same("what mutation returns", _shapes("mutation", mutation, KEY, genes), genes)
    if isinstance(individual, Individual) and jax.tree.leaves(individual.hyper):
        hyper = _shapes("hyper_mutation", hyper_mutation, KEY, individual.hyper)
        _check_same("what hyper_mutation returns", hyper, individual.hyper)


def check_bound(crossover: Callable[..., Any], population: Any) -> None:
    """Genes must lie within the bound that is given to crossover by `functools.partial`.

    Those of other hosts are not looked at.
    """
    bound = crossover.keywords.get("bound") if isinstance(crossover, partial) else None
    if bound is None:
        return
    genes = genes_of(population)
    limits = jax.tree.map(lambda _: bound, genes) if isinstance(bound, int | float) else bound
    for path, leaf in leaves_by_path(genes).items():
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            continue
        finite = np.where(np.isfinite(leaf), np.asarray(leaf, np.float64), 0)
        largest, limit = float(np.abs(finite).max()), leaves_by_path(limits)[path]
        if largest > limit:
            raise ValueError(
                f"genes must lie within the bound {limit} of crossover, but {path!r} has "
                f"{largest:.6g}"
            )


def check_objectives(objectives: Mapping[str, Callable[..., Any]], population: Any) -> None:
    """Objectives must be numbers for the genes of one individual."""
    if not objectives or "loss" in objectives:
        raise ValueError(
            f"objectives must be one or more beside the loss, by other names, not {[*objectives]}"
        )
    for name, function in objectives.items():
        result = _shapes(f"objectives[{name!r}]", function, genes_of(_one(population)))
        _check_number(f"objectives[{name!r}]", result)


def _call(function: Loss, is_training: bool, individual: Any, batch: Any, shared: Any) -> Any:
    key = jax.random.key(0) if isinstance(function, WithContext) else None
    return contexts.call(function, individual, batch, shared, key, is_training=is_training)


def _one(population: Any) -> Any:
    return jax.eval_shape(lambda tree: populations.take(tree, 0), population)


def _shapes(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives for shapes; an error of its own as one that names it."""
    leaves, structure = jax.tree.flatten(jax.tree.map(_shape, arguments))
    try:
        return _eval_shape(function, structure, tuple(leaves))
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ValueError(
            f"{name} must work for one individual of this population and these data, but it raised "
            f"{type(error).__name__}: {reason}"
        ) from error


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(
        np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
    )


@cached  # so that the next run with these shapes traces nothing
def _eval_shape(function: Callable[..., Any], structure: Any, leaves: tuple[Any, ...]) -> Any:
    return jax.eval_shape(function, *jax.tree.unflatten(structure, leaves))


def _check_number(name: str, result: Any) -> None:
    is_number = getattr(result, "shape", None) == () and jnp.issubdtype(result.dtype, jnp.number)
    if not is_number or jnp.issubdtype(result.dtype, jnp.complexfloating):
        shape = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", result)
        raise ValueError(f"{name} must return one real number, not {shape}")


def _check_output(name: str, function: Loss, result: Any, individual: Any) -> None:
    if not isinstance(result, Output):
        if isinstance(result, tuple):
            raise ValueError(
                f"{name} must return one number; wrap it by gajax.with_context and return a "
                "gajax.Output for a state or metrics"
            )
        return _check_number(name, result)
    if not isinstance(function, WithContext):
        raise ValueError(f"{name} must be wrapped by gajax.with_context to return a gajax.Output")
    _check_number(f"the loss of {name}", result.loss)
    for metric, value in result.metrics.items():
        _check_number(f"the metric {metric!r} of {name}", value)
    if result.state is not None:
        state = individual.state if isinstance(individual, Individual) else ()
        _check_same(f"the state of {name}", result.state, state, dtypes=False)


def _check_same(name: str, result: Any, expected: Any, *, dtypes: bool = True) -> None:
    """The same leaves with the same shapes, and types unless these are cast later."""
    found, wanted = leaves_by_path(result), leaves_by_path(expected)
    if jax.tree.structure(result) != jax.tree.structure(expected):
        raise ValueError(f"{name} must have the leaves {[*wanted]}, not {[*found]}")
    for path, new in found.items():
        old = wanted[path]
        if new.shape != old.shape or (dtypes and new.dtype != old.dtype):
            raise ValueError(
                f"{name} must keep {path!r} as {old.dtype}{list(old.shape)}, "
                f"not {new.dtype}{list(new.shape)}"
            )
