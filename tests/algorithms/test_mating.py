"""Mating and survival as functions of their own, against brute force."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_pareto import expected_crowding, expected_ranks

import gajax
from gajax import breeding, mating
from gajax.survivors import survival_order

SIZE = 8


def copies(key, first, second):
    """Children that are copies of their parents."""
    del key
    return first, second


def same(key, child):
    """No mutation."""
    del key
    return child


def children_of(
    population, mothers, fathers, count, crossover=copies, mutation=same, chunk_size=None
):
    indices = jnp.asarray(mothers), jnp.asarray(fathers)
    operators = crossover, mutation, jax.random.key(0)
    return breeding.breed(*operators, population, indices, count, chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 6])
def test_a_pair_has_two_children_one_after_the_other(count, chunk_size):
    population = {"a": jnp.arange(12.0).reshape(6, 2), "b": (jnp.arange(6, dtype=jnp.int8),)}
    mothers, fathers = [4, 0, 1], [2, 5, 1]
    pairs = -(-count // 2)
    born = children_of(population, mothers[:pairs], fathers[:pairs], count, chunk_size=chunk_size)
    rows = np.array([4, 2, 0, 5, 1, 1])[:count]
    for leaf, whole in zip(jax.tree.leaves(born), jax.tree.leaves(population), strict=True):
        assert leaf.dtype == whole.dtype
        np.testing.assert_array_equal(leaf, np.asarray(whole)[rows])


def draw_two(key, first, second):
    keys = jax.random.split(key)
    return tuple(jax.random.uniform(key, first.shape) for key in keys)


def draw_one(key, child):
    return jax.random.uniform(key, child.shape)


@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize("count", [2, 3, 5, 6])
def test_three_parents_have_three_children_one_after_the_other(count, chunk_size):
    def rotated(key, *parents):
        return (*parents[1:], parents[0])

    groups = [[0, 5], [2, 1], [4, 3]]
    indices = [jnp.array(column[: -(-count // 3)]) for column in groups]
    operators = rotated, same, jax.random.key(0)
    born = breeding.breed(*operators, jnp.arange(6.0), indices, count, chunk_size=chunk_size)
    np.testing.assert_array_equal(born, [2, 4, 0, 1, 3, 5][:count])


@pytest.mark.parametrize("operators", [(draw_two, same), (copies, draw_one)])
def test_every_pair_and_every_child_has_a_key_of_its_own(operators):
    pairs = jnp.zeros((4, 3)), [0] * 5, [1] * 5
    born = children_of(*pairs, 10, *operators)
    assert len(np.unique(born)) == 30
    np.testing.assert_array_equal(children_of(*pairs, 10, *operators, chunk_size=2), born)


@partial(jax.jit, static_argnums=(2, 3, 4))
def drawn_parents(key, count, groups, parents, survivors):
    return breeding.draw_parents(key, count, groups, parents, survivors)


@pytest.mark.parametrize("parents, survivors", [(2, 1), (2, 2), (2, 3), (2, 5), (3, 4), (4, 4)])
def test_parents_of_a_genetic_algorithm_are_uniform_and_different(parents, survivors):
    groups, key = 3_000, jax.random.key(survivors)
    columns = np.array(drawn_parents(key, survivors, groups, parents, survivors))
    if survivors == 1:
        assert (columns == 0).all(), "a single parent mates with itself"
        return
    assert all(len(set(group)) == parents for group in columns.T)
    share = 1 / (survivors * (survivors - 1))
    for first, second in itertools.combinations(columns, 2):
        drawn = np.zeros((survivors, survivors))
        np.add.at(drawn, (first, second), 1)
        off_diagonal = drawn[~np.eye(survivors, dtype=bool)]
        deviation = np.sqrt(groups * share * (1 - share))
        assert (abs(off_diagonal - groups * share) <= 5 * deviation).all()


def test_no_parent_is_drawn_behind_the_eligible_ones():
    columns = np.array(drawn_parents(jax.random.key(0), 2, 300, 2, 5))
    assert set(columns.reshape(-1)) == {0, 1}


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "loss, selected, expected",
    [
        ([4.0, 2.0, 3.0, 1.0], [3, 1], [3, 1, 2, 0]),
        ([4.0, 2.0, 3.0, 1.0], [0, 2], [2, 0, 3, 1]),
        ([NAN, 2.0, 3.0, 1.0], [0, 2], [2, 3, 1, 0]),
        ([INF, -INF, 3.0, NAN], [0, 3], [2, 1, 0, 3]),
    ],
)
def test_survivors_stand_first_but_not_without_a_finite_loss(loss, selected, expected):
    """In the last row no selected one is finite, and those that are not keep their order."""
    order = np.asarray(survival_order(jnp.array(loss), jnp.array(selected)))
    finite = np.isfinite(loss)
    assert sorted(order) == list(range(4))
    np.testing.assert_array_equal(order[: finite.sum()], expected[: finite.sum()])


@pytest.mark.parametrize("seed", range(3))
def test_survival_order_is_that_of_sorting_by_three_keys(seed):
    random = np.random.default_rng(seed)
    loss = np.where(random.random(20) < 0.3, NAN, random.integers(0, 5, 20)).astype(np.float32)
    selected = random.choice(20, 7, replace=False)
    expected = sorted(
        range(20),
        key=lambda i: (not np.isfinite(loss[i]), i not in selected, np.nan_to_num(loss[i]), i),
    )
    np.testing.assert_array_equal(
        survival_order(jnp.asarray(loss), jnp.asarray(selected)), expected
    )


def named(size=SIZE):
    """Individuals and guides that carry the index of their owner."""
    return jnp.arange(float(size)), {"guide": jnp.arange(size, dtype=jnp.int8)}


def pair_names(key, first, second):
    """Children that hold the indices of both parents, by genes and by guide."""
    del key
    (gene, guide), (other, other_guide) = first, second
    names = gene, guide["guide"], other, other_guide["guide"]
    return tuple(
        jnp.stack([name.astype(jnp.float32) for name in order])
        for order in (names, names[2:] + names[:2])
    )


@partial(jax.jit, static_argnums=3)
def mated(key, level, eligible, size):
    return mating.mate(pair_names, same, key, named(size), level, eligible)


@pytest.mark.parametrize("size", [7, 8])
def test_winners_of_tournaments_mate_with_their_guides(size):
    level = jnp.asarray(np.random.default_rng(0).permutation(size))
    pairs = set()
    for seed in range(20):
        born = np.asarray(mated(jax.random.key(seed), level, size, size)).astype(int)
        assert born.shape == (size, 4)
        np.testing.assert_array_equal(born[:, 0], born[:, 1], "a guide goes with its owner")
        np.testing.assert_array_equal(born[:, 2], born[:, 3])
        firsts, seconds = born[0::2, [0, 2]], born[1::2, [2, 0]]
        np.testing.assert_array_equal(firsts[: len(seconds)], seconds)
        wins = np.bincount(firsts.ravel(), minlength=size)
        assert wins.sum() == 2 * len(firsts)
        if size % 2 == 0:
            assert wins.max() == wins[int(level.argmin())] == 2, "the best wins both of its"
            assert wins[int(level.argmax())] == 0, "the worst wins none"
        else:  # some enter once more, to make up the last pair
            assert wins.max() <= 3 and wins[int(level.argmin())] >= 2
        pairs |= set(map(tuple, firsts))
    assert len(pairs) > 20


@pytest.mark.parametrize("eligible", [1, 3, 0])
def test_only_eligible_individuals_mate_where_there_are_any(eligible):
    parents = set()
    for seed in range(10):
        born = mated(jax.random.key(seed), jnp.arange(SIZE), eligible, SIZE)
        parents |= set(np.asarray(born)[:, 0].astype(int))
    assert parents <= set(range(eligible or SIZE)) and len(parents) >= (eligible or 5)


SURVIVE = jax.jit(mating.survive)


@pytest.mark.parametrize("broken", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_survivors_are_the_best_of_both_by_rank_and_crowding(seed, broken):
    random = np.random.default_rng(seed)
    objectives = random.integers(0, 6, (2 * SIZE, 2)).astype(np.float32)
    objectives[:, 1] = np.where(random.random(2 * SIZE) < broken, NAN, objectives[:, 1])
    names = jnp.arange(2 * SIZE)
    both = [{"name": part, "none": None} for part in (names[:SIZE], names[SIZE:])]
    kept, their_objectives, level = SURVIVE(
        *both, jnp.asarray(objectives[:SIZE]), jnp.asarray(objectives[SIZE:])
    )
    chosen, level = np.asarray(kept["name"]), np.asarray(level)
    assert kept["none"] is None and len(set(chosen)) == SIZE
    np.testing.assert_array_equal(their_objectives, objectives[chosen])

    # No individual that is left out has a lower rank, or a larger crowding in the last front.
    rank = expected_ranks(objectives)
    distance = expected_crowding(objectives, rank)
    left = np.setdiff1d(np.arange(2 * SIZE), chosen)
    last = rank[chosen].max()
    assert rank[left].min() >= last
    in_last = chosen[rank[chosen] == last]
    assert distance[left][rank[left] == last].max(initial=0) <= distance[in_last].min() + 1e-5

    # They stand in the order of the last objective, those that are not finite last.
    loss = objectives[chosen, 1]
    np.testing.assert_array_equal(np.isnan(loss), np.sort(np.isnan(loss)))
    assert (np.diff(loss[np.isfinite(loss)]) >= 0).all()

    # Levels order all individuals, of whom these are the first, by rank and crowding.
    rank, distance = rank[chosen], np.float32(distance[chosen])
    order = np.lexsort((-distance, rank))
    steps = np.diff(rank[order]) + ~np.isclose(distance[order][1:], distance[order][:-1])
    np.testing.assert_array_equal(np.diff(level[order]) > 0, steps > 0)


def test_the_functions_work_on_a_population_of_the_user():
    """A generation put together by hand, as for a loss that JAX cannot trace."""
    population = jax.random.normal(jax.random.key(1), (SIZE, 5))

    def objectives(population):
        loss = np.square(np.asarray(population) - 1).sum(axis=1)
        return jnp.stack([gajax.density(population), jnp.asarray(loss)], axis=1)

    def cross(key, first, second):
        return gajax.crossover.uniform(key, first[0], second[0])

    @jax.jit
    def mate(key, population, level):
        noise = partial(gajax.mutation.gaussian, rate=0.5, scale=0.3)
        return mating.mate(cross, noise, key, (population, None), level, SIZE)

    scores, level = objectives(population), jnp.zeros(SIZE, jnp.int32)
    best = [float(scores[:, 1].min())]
    for generation in range(20):
        offspring = mate(jax.random.key(generation), population, level)
        population, scores, level = SURVIVE(population, offspring, scores, objectives(offspring))
        best.append(float(scores[0, 1]))
    assert (np.diff(best) <= 0).all() and best[-1] < 0.5 * best[0]
