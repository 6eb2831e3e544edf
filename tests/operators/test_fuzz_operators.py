"""Operators on whatever numbers there are: no gene from nowhere, no bound passed, no zero lost."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from fuzzing import fuzz, numbers
from hypothesis import example
from hypothesis import strategies as st

from gajax import crossover, mutation, selection, sparse

SHAPES = {"a": (3, 4), "empty": (0,), "one": (), "rest": ((5,), (2, 0, 3))}
SEEDS = st.integers(0, 2**32 - 1)
# A program is compiled for each type.
GENES = {
    "seed": SEEDS,
    "values": numbers(),
    "dtype": st.just("float32"),
    "more": {"dtype": st.sampled_from(["float32", "bfloat16"])},
}
RATES = (0.0, 0.1, 1.0)
BOUND = 10.0


def is_shape(node):
    return isinstance(node, tuple) and all(type(size) is int for size in node)


def draw(seed, values, dtype="float32"):
    """An individual whose genes are some of the values."""
    random = np.random.default_rng(seed)

    def leaf(shape):
        genes = random.choice(np.float32(values), shape)
        genes = np.nan_to_num(genes).clip(-1e9, 1e9) if dtype == "int32" else genes
        return jnp.asarray(genes).astype(dtype)

    return jax.tree.map(leaf, SHAPES, is_leaf=is_shape)


def flat(individual):
    """All genes as they are, in the order of the chromosome."""
    return np.concatenate([np.asarray(leaf).reshape(-1) for leaf in jax.tree.leaves(individual)])


def types(individual):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), individual)


def bits(individual):
    genes = flat(individual)
    return genes.view(f"u{genes.dtype.itemsize}")


@jax.jit
def exchange(seed, first, second):
    """The children of every crossover that only shares out genes, `one_point` the last."""
    operators = [partial(crossover.uniform, rate=rate) for rate in (0.0, 0.2, 1.0)]
    operators.append(crossover.one_point)
    keys = jax.random.split(jax.random.key(seed), len(operators))
    return [operator(key, first, second) for operator, key in zip(operators, keys, strict=True)]


@fuzz(30, 1_500, **GENES | {"dtype": st.sampled_from(["bfloat16", "int32"])})
def test_children_share_out_the_genes_of_their_parents(seed, values, dtype, folder):
    first, second = draw(seed, values, dtype), draw(seed + 1, values, dtype)
    mine, theirs = bits(first), bits(second)
    for children in exchange(np.uint32(seed), first, second):
        for child in children:
            assert types(child) == types(first)
        older, younger = map(bits, children)
        kept = (older == mine) & (younger == theirs)
        swapped = (older == theirs) & (younger == mine)
        assert (kept | swapped).all()
    assert (np.diff(swapped[mine != theirs].astype(int)) >= 0).all()
    assert kept[0] and swapped[-1]


@jax.jit
def spread(seed, first, second, *signs):
    """The children of every crossover that draws new genes."""
    keys = jax.random.split(jax.random.key(seed), 3)
    guided = partial(crossover.gradient_guided_sbx, bound=BOUND)
    return [
        crossover.sbx(keys[0], first, second, bound=BOUND),
        guided(keys[1], first, second, *signs, reading="own"),
        guided(keys[2], first, second, *signs, reading="paper"),
    ]


@fuzz(30, 1_000, **GENES)
def test_spread_children_stay_within_the_bound(seed, values, dtype, folder):
    first, second = draw(seed, values, dtype), draw(seed + 1, values, dtype)
    signs = [draw(seed + 2 + i, [-1.0, 0.0, 1.0], "int32") for i in (0, 1)]
    one, two = flat(first).astype(np.float32), flat(second).astype(np.float32)
    finite = np.isfinite(one) & np.isfinite(two)
    both_zero = (one == 0) & (two == 0)
    same = finite & (abs(one) > 1e-30) & (abs(one) <= BOUND) & (one == two)
    for child in jax.tree.leaves(
        spread(np.uint32(seed), first, second, *signs), is_leaf=lambda node: isinstance(node, dict)
    ):
        assert types(child) == types(first)
        genes = flat(child).astype(np.float32)
        assert np.isfinite(genes[finite]).all() and (abs(genes[finite]) <= BOUND).all()
        assert (genes[both_zero] == 0).all()
        np.testing.assert_array_equal(genes[same], one[same])


@jax.jit
def mutate(seed, individual):
    """The individual by every mutation at each rate."""
    operators = [
        partial(operator, rate=rate)
        for rate in RATES
        for operator in (
            partial(mutation.zero, may_be_zero=lambda path, leaf: path != "a"),
            partial(mutation.polynomial, bound=BOUND),
            partial(mutation.gaussian, scale=1.0),
        )
    ]
    keys = jax.random.split(jax.random.key(seed), len(operators))
    return [operator(key, individual) for operator, key in zip(operators, keys, strict=True)]


@fuzz(25, 800, **GENES)
def test_mutation_changes_what_it_may_and_nothing_else(seed, values, dtype, folder):
    individual = draw(seed, values, dtype)
    genes = flat(individual).astype(np.float32)
    finite = np.isfinite(genes)
    mutated = mutate(np.uint32(seed), individual)
    for rate, *trees in zip(RATES, mutated[::3], mutated[1::3], mutated[2::3], strict=True):
        for tree in trees:
            assert types(tree) == types(individual)
        zeroed, moved, noisy = (flat(tree).astype(np.float32) for tree in trees)
        same = bits(trees[0]) == bits(individual)
        assert (same | (zeroed == 0)).all() and same[:12].all()
        assert rate < 1 or (zeroed[12:] == 0).all()
        assert rate > 0 or same.all()
        assert (abs(moved[finite]) <= BOUND).all() and np.isnan(moved[np.isnan(genes)]).all()
        assert (abs(moved[np.isinf(genes)]) == BOUND).all()
        if rate == 0:
            ordinary = finite & ((genes == 0) | (abs(genes) > 1e-30))
            np.testing.assert_array_equal(moved[ordinary], genes[ordinary].clip(-BOUND, BOUND))
            assert (bits(trees[2]) == bits(individual)).all()
        assert not np.isfinite(noisy[~finite]).any() and not np.isnan(noisy[finite]).any()


@partial(jax.jit, static_argnames=("count", "size"))
def select(seed, loss, count, size):
    keys = jax.random.split(jax.random.key(seed))
    chosen = selection.truncation(keys[0], loss, count)
    return chosen, selection.tournament(keys[1], loss, count, size=size)


@fuzz(
    30,
    1_000,
    seed=SEEDS,
    values=numbers(8),
    sizes=st.sampled_from([(12, 6, 2), (7, 7, 3)]),
    more={"sizes": st.sampled_from([(1, 1, 1), (12, 1, 12), (12, 6, 2), (12, 4, 3), (7, 7, 3)])},
)
def test_selection_takes_the_better_ones(seed, values, sizes, folder):
    individuals, count, size = sizes
    loss = np.random.default_rng(seed).choice(np.float32(values), individuals)
    order = np.where(np.isfinite(loss), np.where(abs(loss) < 1e-37, 0, loss), np.inf)
    best, winners = map(np.asarray, select(np.uint32(seed), loss, count, size))
    np.testing.assert_array_equal(best, np.argsort(order, kind="stable")[:count])
    assert len(winners) == count and ((winners >= 0) & (winners < individuals)).all()
    assert np.bincount(winners).max() <= -(-count * size // individuals)
    if count * size == individuals:
        assert order[winners].min() == order.min()
        assert np.isinf(order[winners]).sum() <= np.isinf(order).sum() // size


OPTIMIZERS = [optax.sgd(0.1, momentum=0.9), optax.adamw(0.1), optax.clip_by_global_norm(1.0)]


@jax.jit
def steps(params, gradient, masked):
    """A sparse step of every optimiser, and a plain one on the masked gradient."""

    def step(optimizer, gradient):
        return optimizer.update(gradient, optimizer.init(params), params)[0]

    return [
        (step(sparse(optimizer), gradient), step(optimizer, masked)) for optimizer in OPTIMIZERS
    ]


def no_gene(leaf):
    """What counts as zero where XLA compares: smaller ones than the smallest normal number too."""
    return abs(np.asarray(leaf)) < np.finfo(np.float32).tiny


@fuzz(20, 800, seed=SEEDS, values=numbers())
@example(seed=0, values=[float("nan"), 1e-45])
def test_sparse_steps_move_no_zero(seed, values, folder):
    params, gradient = draw(seed, [0.0, *values]), draw(seed + 1, values)
    masked = jax.tree.map(lambda leaf, slope: np.where(no_gene(leaf), 0, slope), params, gradient)
    is_zero = no_gene(flat(params))
    for update, expected in steps(params, gradient, masked):
        assert (flat(update)[is_zero] == 0).all()
        np.testing.assert_array_equal(flat(update)[~is_zero], flat(expected)[~is_zero])
