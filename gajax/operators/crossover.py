"""Crossover: two parents become two children, or as many as there are become as many.

Each operator is `operator(key, first, second) -> (child of first, child of second)` on single
individuals; bind its rate with `functools.partial` and vmap it over pairs. The children of
`uniform` and `one_point` keep between them every gene of both parents; those of simulated binary
crossover (SBX) lie around them, and those of `mean` between them.
"""

import operator
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from gajax import individual
from gajax.types import Params

Bound = int | float | PyTree[float] | None
"""Largest magnitude of a gene: one for all, a tree like an individual with one for each leaf, or
None for no bound."""

_Rate = float | Float[Array, ""]


def uniform(
    key: Key[Array, ""], first: Params, second: Params, *, rate: _Rate = 0.5
) -> tuple[Params, Params]:
    """Swap every gene of the parents with probability `rate`, each gene by itself.

    A rate of 0.2 gives a first child that takes a gene from its mother with probability 0.8, as in
    the public code of David & Greental (arXiv 1711.07655).

    Example:
      >>> first, second = jnp.zeros(6), jnp.ones(6)
      >>> children = gajax.crossover.uniform(jax.random.key(0), first, second, rate=0.2)
      >>> (children[0] + children[1]).tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    return _exchange(individual.random_masks(key, rate, first), first, second)


def one_point(key: Key[Array, ""], first: Params, second: Params) -> tuple[Params, Params]:
    """Swap all genes behind one random cut, in the order of the leaves and of each leaf's memory.

    The cut never falls outside the chromosome: each child has at least one gene of each parent,
    unless there is only one gene.

    Example:
      >>> first, second = jnp.zeros(6), jnp.ones(6)
      >>> older, younger = gajax.crossover.one_point(jax.random.key(0), first, second)
      >>> older[0].item(), older[-1].item(), younger[0].item(), younger[-1].item()
      (0.0, 1.0, 1.0, 0.0)
    """
    count = individual.genes(first)
    cut = jax.random.randint(key, (), 1, max(2, count))
    return _exchange(individual.from_vector(jnp.arange(count) >= cut, first), first, second)


def mean(
    key: Key[Array, ""], *parents: Params, concentration: float | int = 5.0
) -> tuple[Params, ...]:
    """Weighted means of any number of parents, one for each of them.

    The weights of a child are the same for all its genes and drawn from a Dirichlet distribution: 1
    makes all weights that sum to 1 equally likely, a larger `concentration` those nearer to equal
    ones. Leaves of whole numbers are the first parent's. Parents that are relatives, which have
    learned from different batches since they were one, lie around their mean, whose loss is lower;
    that of the mean of strangers is higher.
    Source: intermediate recombination of evolution strategies (Beyer, "Toward a theory of evolution
    strategies: on the benefits of sex", Evolutionary Computation 3(1)) and Wortsman et al., "Model
    soups" (arXiv 2203.05482).

    Example:
      >>> parents = [jnp.full(4, value) for value in (1.0, 2.0, 3.0)]
      >>> children = gajax.crossover.mean(jax.random.key(0), *parents)
      >>> len(children), all(bool(((1 < child) & (child < 3)).all()) for child in children)
      (3, True)
    """
    count = len(parents)
    weights = jax.random.dirichlet(key, jnp.full(count, concentration, jnp.float32), (count,))

    return tuple(weighted_mean(row, *parents) for row in weights)


def weighted_mean(weights: Iterable[Any], *trees: PyTree) -> Any:
    """The mean of trees with these weights; leaves of whole numbers are those of the first tree.

    Example:
      >>> gajax.crossover.weighted_mean((0.25, 0.75), jnp.zeros(2), jnp.ones(2))
      Array([0.75, 0.75], dtype=float32)
    """
    weights = tuple(weights)

    def of_leaf(*leaves: Array) -> Array:
        if not jnp.issubdtype(leaves[0].dtype, jnp.floating):
            return leaves[0]
        parts = (weight * leaf for weight, leaf in zip(weights, leaves, strict=True))
        return reduce(operator.add, parts).astype(leaves[0].dtype)

    return jax.tree.map(of_leaf, *trees)


def sbx(
    key: Key[Array, ""], first: Params, second: Params, *, index: float = 20.0, bound: Bound = None
) -> tuple[Params, Params]:
    """Spread every gene of the children about the mean of the parents (SBX).

    The larger the distribution index, the nearer a child stays to its own parent. Genes are cut
    off at plus and minus `bound`. A gene that is zero in both parents stays zero. Source: Deb &
    Agrawal, "Simulated binary crossover for continuous search space", Complex Systems 9(2).

    Example:
      >>> first, second = jnp.array([1.0, 0.0]), jnp.array([3.0, 0.0])
      >>> older, younger = gajax.crossover.sbx(jax.random.key(0), first, second)
      >>> (older + younger).round(4).tolist()  # their mean is that of the parents
      [4.0, 0.0]
    """

    def cross(word: Array, first: Array, second: Array, limit: Array) -> tuple[Array, Array]:
        spread = _spread(word >> 8, 24, (word & 1).astype(bool), index)
        mean, half = (first + second) / 2, (second - first) / 2
        children = mean - spread * half, mean + spread * half
        older, younger = (jnp.clip(child, -limit, limit) for child in children)
        return older, younger

    return _of_each_gene(cross, key, (first, second), bound)


def gradient_guided_sbx(
    key: Key[Array, ""],
    first: Params,
    second: Params,
    first_signs: Params,
    second_signs: Params,
    *,
    reading: Literal["own", "paper"] = "own",
    index: float = 20.0,
    bound: Bound = None,
) -> tuple[Params, Params]:
    """SBX in which the signs of the parents' gradients say where each gene of a child goes.

    Per gene, the child of the lower value and the child of the higher one move away from each
    other where that lowers the loss, towards each other where that does, and either way where the
    gradient is zero; a gradient is the own parent's, or with reading `paper` the lower one's for
    both. With probability 1/2, drawn once for the pair, a parent's zero stays zero in its child.
    Then with probability 1/2 for each gene, a child takes the other's value where its own gradient
    points there. A gene that is zero in both parents stays zero.

    The signs are -1, 0 or 1, of any dtype. One random word is drawn for each gene of the pair.
    Source: Yang et al., IEEE TNNLS 33(9), on GEMONN.

    Example:
      >>> first, second = jnp.array([1.0, 0.0]), jnp.array([3.0, 0.0])
      >>> signs = jnp.array([1, 0]), jnp.array([-1, 0])  # apart lowers the loss
      >>> cross = gajax.crossover.gradient_guided_sbx
      >>> older, younger = cross(jax.random.key(0), first, second, *signs)
      >>> bool(older[0] <= 1), bool(younger[0] >= 3), older[1].item()
      (True, True, 0.0)
    """
    key_pair, key_genes = jax.random.split(key)
    keep_zeros = jax.random.bernoulli(key_pair)

    def cross(word, first, second, first_sign, second_sign, limit) -> tuple[Array, Array]:
        is_low = first <= second
        low, high = jnp.minimum(first, second), jnp.maximum(first, second)
        low_sign = jnp.where(is_low, first_sign, second_sign)
        high_sign = jnp.where(is_low, second_sign, first_sign)
        guide = high_sign if reading == "own" else low_sign
        # Of the word's bits, 15 are the low child's, 15 the high child's and 1 is the copy's coin.
        low_bits = word >> 17
        high_bits = jnp.where((low_sign == 0) & (guide == 0), low_bits, (word >> 2) & 0x7FFF)
        low_expands = jnp.where(low_sign == 0, low_bits & 1 == 1, low_sign > 0)
        high_expands = jnp.where(guide == 0, high_bits & 1 == 1, guide < 0)
        low_spread = _spread(low_bits >> 1, 14, low_expands, index)
        high_spread = _spread(high_bits >> 1, 14, high_expands, index)
        mean, half = (low + high) / 2, (high - low) / 2
        low_child = jnp.where(keep_zeros & (low == 0), 0, mean - low_spread * half)
        high_child = jnp.where(keep_zeros & (high == 0), 0, mean + high_spread * half)
        copies = (word & 1).astype(bool)
        low_child, high_child = (
            jnp.where(copies & (low_sign < 0), high_child, low_child),
            jnp.where(copies & (high_sign > 0), low_child, high_child),
        )
        low_child, high_child = (
            jnp.clip(child, -limit, limit) for child in (low_child, high_child)
        )
        older = jnp.where(is_low, low_child, high_child)
        return older, jnp.where(is_low, high_child, low_child)

    return _of_each_gene(cross, key_genes, (first, second, first_signs, second_signs), bound)


def _spread(drawn: Array, count: int, expands: Array, index: float) -> Array:
    """The spread factor of SBX from `count` bits: at least 1 where it expands, else at most 1."""
    uniform = (drawn.astype(jnp.float32) + 0.5) / 2**count
    exponent = jnp.where(expands, -1 / (index + 1), 1 / (index + 1))
    return jnp.exp(exponent * jnp.log(uniform))


def _of_each_gene(
    cross: Callable[..., tuple[Array, Array]],
    key: Key[Array, ""],
    trees: tuple[Params, ...],
    bound: Bound,
) -> tuple[Params, Params]:
    """Two children, leaf by leaf, of `cross(random words, *leaves, bounds)`."""
    if bound is None or isinstance(bound, int | float):
        limit = jnp.inf if bound is None else bound
        bound = jax.tree.map(lambda _: limit, trees[0])
    columns = [
        individual.join(tree) for tree in (*trees, jax.tree.map(jnp.full_like, trees[0], bound))
    ]
    words = [
        jax.random.bits(key, leaf.shape, jnp.uint32)
        for key, leaf in zip(jax.random.split(key, len(columns[0])), columns[0], strict=True)
    ]
    older, younger = zip(*map(cross, words, *columns), strict=True)
    return individual.split(older, trees[0]), individual.split(younger, trees[0])


def _exchange(masks: Params, first: Params, second: Params) -> tuple[Params, Params]:
    return (
        jax.tree.map(jnp.where, masks, second, first),
        jax.tree.map(jnp.where, masks, first, second),
    )
