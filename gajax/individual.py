"""One individual: a tree of arrays, whose elements are its genes, or an `Individual`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree, Shaped

from gajax import bits
from gajax.types import LeafPredicate, Params

_LARGE = 2**14  # genes of a leaf


class Individual(NamedTuple):
    """An individual that has more than genes; a population has the axis P on all leaves.

    Attributes:
      params: its genes, which alone crossover, mutation and gradients change.
      state: what its loss keeps that is no gene, such as batch statistics. The first child of a
        couple inherits the mother's, the second the father's.
      hyper: floating-point hyper-parameters, such as a learning rate. They are inherited likewise
        and changed by a mutation of their own.

    Example:
      >>> individual = gajax.Individual(jnp.ones(3), hyper={"rate": jnp.float32(0.1)})
      >>> individual.params, individual.state
      (Array([1., 1., 1.], dtype=float32), ())
    """

    params: Params
    state: PyTree = ()
    hyper: PyTree = ()


def genes_of(individual: Any) -> Any:
    """The genes of an individual or a population of either kind.

    Example:
      >>> gajax.individual.genes_of(gajax.Individual(jnp.ones(2)))
      Array([1., 1.], dtype=float32)
      >>> gajax.individual.genes_of(jnp.ones(2))
      Array([1., 1.], dtype=float32)
    """
    return individual.params if isinstance(individual, Individual) else individual


def with_genes(individual: Any, params: Any) -> Any:
    """The individual or population with other genes.

    Example:
      >>> individual = gajax.Individual(jnp.ones(2), state="kept")
      >>> gajax.individual.with_genes(individual, jnp.zeros(2)).state
      'kept'
    """
    if isinstance(individual, Individual):
        return individual._replace(params=params)
    return params


def all_leaves(path: str, leaf: Any) -> bool:
    """The predicate of a model all of whose genes may become zero.

    Example:
      >>> gajax.individual.all_leaves("hidden/bias", jnp.zeros(3))
      True
    """
    del path, leaf
    return True


def all_but_biases(path: str, leaf: Any) -> bool:
    """The predicate of a model whose biases, the leaves named "...bias", stay as they are.

    Example:
      >>> gajax.individual.all_but_biases("hidden/bias", jnp.zeros(3))
      False
      >>> gajax.individual.all_but_biases("hidden/kernel", jnp.zeros((2, 3)))
      True
    """
    del leaf
    return not path.endswith("bias")


def leaf_paths(tree: PyTree) -> PyTree[str]:
    """The tree with the path to every leaf, such as "blocks_0/kernel", in place of the leaf.

    Example:
      >>> gajax.individual.leaf_paths({"hidden": {"kernel": 1.0, "bias": 2.0}})
      {'hidden': {'bias': 'hidden/bias', 'kernel': 'hidden/kernel'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, leaf: "/".join(_names(path)), tree)


def leaves_by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves in their order by their paths; of those with the same path the last one.

    Example:
      >>> gajax.individual.leaves_by_path({"hidden": {"kernel": 1.0, "bias": 2.0}})
      {'hidden/bias': 2.0, 'hidden/kernel': 1.0}
    """
    return dict(zip(*map(jax.tree.leaves, (leaf_paths(tree), tree)), strict=True))


def leaf_mask(tree: PyTree, predicate: LeafPredicate) -> PyTree[bool]:
    """The tree with the predicate's answer in place of every leaf.

    ValueError where the predicate holds for no leaf: then it reads the names otherwise than they
    are, which the error lists.

    Example:
      >>> tree = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
      >>> gajax.individual.leaf_mask(tree, gajax.individual.all_but_biases)
      {'bias': False, 'kernel': True}
    """
    paths = leaf_paths(tree)
    mask = jax.tree.map(lambda path, leaf: bool(predicate(path, leaf)), paths, tree)
    if not any(jax.tree.leaves(mask)):
        names = jax.tree.leaves(paths)
        raise ValueError(f"the predicate must hold for a leaf, of which there are {names}")
    return mask


def _names(path: Any) -> list[str]:
    """What the entries of a path through a tree are called: keys, attributes or indices."""
    # The arrays of Flax NNX are the attribute `value` of a variable, which has the name.
    if len(path) > 1 and path[-1] == jax.tree_util.GetAttrKey("value"):
        path = path[:-1]
    return [
        str(getattr(entry, next(name for name in ("key", "name", "idx") if hasattr(entry, name))))
        for entry in path
    ]


def genes(individual: Params) -> int:
    """Number of genes of one individual, biases included.

    Example:
      >>> gajax.genes({"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)})
      9
    """
    return sum(leaf.size for leaf in jax.tree.leaves(genes_of(individual)))


def density(individual: Params) -> Float[Array, ""]:
    """Share of the genes that are not zero, biases included.

    Example:
      >>> float(gajax.individual.density({"kernel": jnp.array([0.0, 2.0]), "bias": jnp.zeros(2)}))
      0.25
    """
    nonzero = [jnp.sum(leaf != 0) for leaf in jax.tree.leaves(genes_of(individual))]
    return jnp.sum(jnp.stack(nonzero)) / genes(individual)


def is_finite(individual: Params) -> Bool[Array, ""]:
    """Whether all genes of one individual are finite.

    Example:
      >>> bool(gajax.individual.is_finite([jnp.ones(2), jnp.array(jnp.nan)]))
      False
    """
    leaves = jax.tree.leaves(genes_of(individual))
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def map_with_key(key: Key[Array, ""], function: Callable[..., Any], *trees: PyTree) -> Any:
    """`function(key, *leaves)` on every leaf, each with a key of its own.

    Example:
      >>> noisy = lambda key, leaf: leaf + jax.random.normal(key, leaf.shape)
      >>> moved = gajax.individual.map_with_key(jax.random.key(0), noisy, {"a": jnp.zeros(2)})
      >>> moved["a"].shape
      (2,)
    """
    structure = jax.tree.structure(trees[0])
    keys = jax.tree.unflatten(structure, list(jax.random.split(key, structure.num_leaves)))
    return jax.tree.map(function, keys, *trees)


def to_vector(tree: Params) -> Shaped[Array, " genes"]:
    """All genes of a tree.

    Example:
      >>> gajax.individual.to_vector({"a": jnp.eye(2), "b": jnp.array([3.0])})
      Array([1., 0., 0., 1., 3.], dtype=float32)
    """
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(tree)])


def from_vector(vector: Shaped[Array, " genes"], tree: Params) -> Params:
    """The elements of a vector in the shapes of a tree, which has as many genes.

    Example:
      >>> tree = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(1)}
      >>> gajax.individual.from_vector(jnp.arange(5.0), tree)["b"]
      Array([4.], dtype=float32)
    """
    leaves, structure = jax.tree.flatten(tree)
    parts = jnp.split(vector, np.cumsum([leaf.size for leaf in leaves])[:-1])
    shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def join(tree: Params) -> list[Array]:
    """The large leaves, and all others as one vector, which compiles faster than many leaves.

    Large ones are not joined, as copying them takes time.

    Example:
      >>> leaves = [jnp.ones(2), jnp.ones((200, 100)), jnp.ones(3)]
      >>> [leaf.shape for leaf in gajax.individual.join(leaves)]
      [(200, 100), (5,)]
    """
    leaves = jax.tree.leaves(tree)
    small = [leaf for leaf in leaves if leaf.size < _LARGE]
    large = [leaf for leaf in leaves if leaf.size >= _LARGE]
    return [*large, to_vector(small)] if small else large


def split(joined: Sequence[Array], tree: Params) -> Params:
    """The tree like the given one from what `join` makes of it.

    Example:
      >>> tree = [jnp.ones(2), jnp.zeros(3)]
      >>> [leaf.shape for leaf in gajax.individual.split(gajax.individual.join(tree), tree)]
      [(2,), (3,)]
    """
    leaves, structure = jax.tree.flatten(tree)
    small = [leaf for leaf in leaves if leaf.size < _LARGE]
    large, parts = iter(joined), iter(from_vector(joined[-1], small) if small else [])
    restored = [next(parts if leaf.size < _LARGE else large) for leaf in leaves]
    restored = [new.astype(leaf.dtype) for new, leaf in zip(restored, leaves, strict=True)]
    return jax.tree.unflatten(structure, restored)


def random_mask(
    key: Key[Array, ""], rate: float | Float[Array, ""], shape: tuple[int, ...]
) -> Bool[Array, "..."]:
    """True with probability `rate`, exact to 2**-32 for small rates, from a word each.

    Example:
      >>> gajax.individual.random_mask(jax.random.key(0), 0.5, (1000,)).shape
      (1000,)
    """
    rate = jnp.asarray(rate, jnp.float32)
    limit = jnp.minimum(rate * 2.0**32, 2.0**32 - 256).astype(jnp.uint32)
    return (bits.words(key, shape) < limit) | (rate >= 1)


def random_masks(key: Key[Array, ""], rate: float | Float[Array, ""], tree: Params) -> Params:
    """A tree like this one of what `random_mask` gives, from one draw for all genes.

    Example:
      >>> masks = gajax.individual.random_masks(jax.random.key(0), 1.0, {"a": jnp.zeros((2, 2))})
      >>> masks["a"].all()
      Array(True, dtype=bool)
    """
    return from_vector(random_mask(key, rate, (genes(tree),)), tree)
