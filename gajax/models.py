"""Modules of Flax NNX and Equinox as individuals: taken apart into arrays and put together again.

Flax Linen needs no help: its variables are an individual, or with a state
`gajax.Individual(variables.pop("params"), variables)`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from gajax.context import Context
from gajax.individual import Individual
from gajax.types import Params

if TYPE_CHECKING:
    import flax.nnx


class ModuleFunctions(NamedTuple):
    """A module as functions of arrays.

    Attributes:
      init: `init(key) -> Individual`, for `gajax.init`.
      merge: `merge(params, context) -> module`; None in place of a context is one for inference.
      state: `state(module) -> state`, what `Output` takes; () for modules that keep none.

    Example:
      >>> from flax import nnx
      >>> functions = gajax.models.nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
      >>> functions._fields
      ('init', 'merge', 'state')
    """

    init: Callable[[Key[Array, ""]], Individual]
    merge: Callable[[Params, Context | None], Any]
    state: Callable[[Any], PyTree]


def nnx(make: Callable[["flax.nnx.Rngs"], "flax.nnx.Module"]) -> ModuleFunctions:
    """The functions of the Flax NNX module `make(rngs)`.

    Genes are its variables of type `nnx.Param`, its state is every other variable but random keys.
    `merge` gives a module in training or evaluation mode whose random streams, such as that of
    dropout, start from the key of the context, and whose variables are those of the context's
    state. ValueError without a context if the module keeps a state, such as batch statistics.

    Example:
      >>> from flax import nnx
      >>> network = gajax.models.nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
      >>> individual = network.init(jax.random.key(0))
      >>> context = gajax.Context(None, individual.state, hyper=(), is_training=False)
      >>> network.merge(individual.params, context)(jnp.ones((5, 3))).shape
      (5, 2)
    """
    from flax import nnx as flax_nnx

    def split(module: Any) -> tuple[Any, ...]:
        return flax_nnx.split(module, flax_nnx.Param, flax_nnx.RngState, ...)

    abstract = flax_nnx.eval_shape(lambda: make(flax_nnx.Rngs(0)))
    structure, _, streams, kept = split(abstract)
    streams, streams_structure = jax.tree.flatten(streams)

    def init(key: Key[Array, ""]) -> Individual:
        _, params, _, state = split(make(flax_nnx.Rngs(key)))
        return Individual(params, state)

    def start_streams(key: Key[Array, ""]) -> Any:
        def start(index: int, leaf: Any) -> Array:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.random.fold_in(key, index)
            return jnp.zeros(leaf.shape, leaf.dtype)  # how often the key has been used

        return jax.tree.unflatten(streams_structure, map(start, range(len(streams)), streams))

    def merge(params: Params, context: Context | None = None) -> Any:
        if context is None:
            if jax.tree.leaves(kept):
                raise ValueError("merge needs a context with the state of the module, not None")
            context = Context(None, kept, (), False)
        key, state, _, is_training = context
        started = start_streams(jax.random.key(0) if key is None else key)
        # New variables, because those of an outer trace cannot be updated.
        params, state = jax.tree.map(lambda leaf: leaf, (params, state))
        module = flax_nnx.merge(structure, params, started, state)
        module.train() if is_training else module.eval()
        return module

    return ModuleFunctions(init, merge, lambda module: split(module)[3])


def equinox(make: Callable[[Key[Array, ""]], Any]) -> ModuleFunctions:
    """The functions of the Equinox module `make(key)`.

    Genes are its floating-point arrays; everything else stays as `make` gives it. Where `make`
    returns a module and its `equinox.nn.State`, as `equinox.nn.make_with_state` does, that is the
    state of the individual: give `context.state` to the module, and what it returns to `Output`.
    `merge` gives a module in training or inference mode.

    Example:
      >>> import equinox as eqx
      >>> network = gajax.models.equinox(lambda key: eqx.nn.Linear(3, 2, key=key))
      >>> individual = network.init(jax.random.key(0))
      >>> network.merge(individual.params)(jnp.ones(3)).shape
      (2,)
    """
    import equinox as eqx

    def parts(made: Any) -> tuple[Any, Any, PyTree]:
        has_state = isinstance(made, tuple) and isinstance(made[-1], eqx.nn.State)
        module, state = made if has_state else (made, ())
        return *eqx.partition(module, eqx.is_inexact_array), state

    _, rest, _ = parts(make(jax.random.key(0)))

    def init(key: Key[Array, ""]) -> Individual:
        params, _, state = parts(make(key))
        return Individual(params, state)

    def merge(params: Params, context: Context | None = None) -> Any:
        is_inference = context is None or not context.is_training
        return eqx.nn.inference_mode(eqx.combine(params, rest), is_inference)

    return ModuleFunctions(init, merge, lambda module: ())
