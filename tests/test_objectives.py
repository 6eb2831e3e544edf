"""Objectives of Flax models against loops over their weights."""

from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from flax.traverse_util import flatten_dict

import gajax
from gajax import objectives

pytestmark = pytest.mark.usefixtures("strict_rank_promotion")

POSITIONS = {
    "mlp": {},
    "cnn": {"Conv_0/kernel": 6 * 7, "Conv_1/kernel": 2 * 3},
    "depthwise": {"Conv_0/kernel": 6 * 7, "Conv_1/kernel": 1},
}
DENSITIES = jnp.array([0.01, 0.1, 0.3, 0.6, 1.0])
SIZE = len(DENSITIES)


class MLP(linen.Module):
    @linen.compact
    def __call__(self, inputs):
        return linen.Dense(3)(linen.LayerNorm()(linen.Dense(7)(inputs)))


class CNN(linen.Module):
    groups: int = 1

    @linen.compact
    def __call__(self, inputs):
        x = linen.Conv(6, (3, 2))(inputs)
        x = linen.Conv(6, (3, 3), strides=3, feature_group_count=self.groups)(x)
        return linen.Dense(4)(x.reshape(len(x), -1))


MODELS = {"mlp": (MLP(), (1, 5)), "cnn": (CNN(), (1, 6, 7, 3)), "depthwise": (CNN(6), (1, 6, 7, 3))}


@cache
def population(name, dtype=jnp.float32):
    """Individuals from sparse to dense, with a unit that has no weights in each kernel."""
    model, shape = MODELS[name]

    def draw(key):
        drawn = model.init(key, jnp.ones(shape))["params"]
        drawn = jax.tree.map(lambda leaf: (leaf + 0.5).astype(dtype), drawn)
        return jax.tree.map(lambda leaf: leaf.at[..., 1].set(-0.0), drawn)

    drawn = jax.jit(partial(gajax.init, init_fn=draw, size=SIZE))
    return drawn(jax.random.key(0), densities=DENSITIES)


def kernels(individual):
    """The kernels by their paths, in NumPy."""
    flat = flatten_dict(individual, sep="/")
    return {path: np.asarray(leaf, np.float32) for path, leaf in flat.items() if leaf.ndim > 1}


def expected_density(individual):
    genes = [gene for leaf in jax.tree.leaves(individual) for gene in np.ravel(leaf)]
    return sum(gene != 0 for gene in genes) / len(genes)


def expected_units(individual):
    return sum(
        any(weight != 0 for weight in kernel[..., unit].ravel())
        for kernel in kernels(individual).values()
        for unit in range(kernel.shape[-1])
    )


def expected_macs(individual, positions):
    return sum(
        positions.get(path, 1) * sum(weight != 0 for weight in kernel.ravel())
        for path, kernel in kernels(individual).items()
    )


def expected_violations(individual, n, m):
    groups = []
    for kernel in kernels(individual).values():
        *window, inputs, outputs = map(range, kernel.shape)
        for place in product(*window):
            for unit in outputs:
                weights = [kernel[*place, i, unit] for i in inputs]
                groups += [weights[i : i + m] for i in range(0, len(weights), m)]
    return sum(sum(weight != 0 for weight in group) > n for group in groups) / len(groups)


def check(function, name, dtype, expected):
    """Every individual alone, and all at once, in compiled programs."""
    individuals = population(name, dtype)
    results, alone = jax.jit(jax.vmap(function))(individuals), jax.jit(function)
    assert results.dtype == jnp.float32
    for index in range(SIZE):
        individual = gajax.take(individuals, index)
        np.testing.assert_allclose(results[index], expected(individual), rtol=1e-6)
        np.testing.assert_allclose(results[index], alone(individual), rtol=1e-6)
    assert len(np.unique(results)) > 1, "the test tells individuals apart"


@pytest.fixture(params=[jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def dtype(request):
    return request.param


@pytest.mark.parametrize("name", MODELS)
def test_density_is_the_share_of_nonzero_genes(name, dtype):
    check(objectives.density, name, dtype, expected_density)
    individuals = population(name, dtype)
    expected = jax.jit(jax.vmap(objectives.density))(individuals)
    np.testing.assert_array_equal(jax.jit(gajax.density)(individuals), expected)


@pytest.mark.parametrize("name", MODELS)
def test_active_units_have_a_nonzero_weight(name, dtype):
    check(objectives.active_units, name, dtype, expected_units)


@pytest.mark.parametrize("name", MODELS)
def test_macs_use_each_nonzero_weight_at_every_position(name, dtype):
    positions = POSITIONS[name]
    function = partial(objectives.macs, positions=positions) if positions else objectives.macs
    check(function, name, dtype, partial(expected_macs, positions=positions))


@pytest.mark.parametrize("n, m", [(2, 4), (1, 2), (1, 1), (3, 50)])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_violations_are_groups_with_too_many_nonzero_weights(name, n, m, dtype):
    if n == m:
        assert objectives.nm_violations(gajax.take(population(name, dtype), -1), n, m) == 0
        return
    function = partial(objectives.nm_violations, n=n, m=m)
    check(function, name, dtype, partial(expected_violations, n=n, m=m))


def test_macs_are_those_of_the_dense_model():
    """Of XLA, which counts two floating-point operations for each, and those of the biases."""
    model = linen.Conv(4, (3, 3), padding="VALID")
    inputs = jnp.ones((1, 8, 9, 2))
    params = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0), inputs)["params"])
    outputs = 6 * 7
    flops = jax.jit(model.apply).lower({"params": params}, inputs).cost_analysis()["flops"]
    macs = objectives.macs(params, {"kernel": outputs})
    assert flops == 2 * macs + 4 * outputs


def transposed(individual):
    """As in PyTorch: (out, in, ...)."""
    return jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf, (-1, -2), (0, 1)) if leaf.ndim > 1 else leaf, individual
    )


@pytest.mark.parametrize("name", MODELS)
def test_kernels_whose_output_axis_is_the_first(name):
    for index in range(SIZE):
        individual = gajax.take(population(name), index)
        for function, options in [
            (objectives.active_units, {"output_axis": 0}),
            (objectives.nm_violations, {"input_axis": 1}),
        ]:
            assert function(transposed(individual), **options) == function(individual)


def test_the_predicate_chooses_the_kernels():
    individual = gajax.take(population("cnn"), 2)
    only_dense = {"is_kernel": lambda path, leaf: path.startswith("Dense") and leaf.ndim == 2}
    dense = {"Dense_0": individual["Dense_0"]}
    assert objectives.active_units(individual, **only_dense) == expected_units(dense)
    assert objectives.macs(individual, **only_dense) == expected_macs(dense, {})
    expected = expected_violations(dense, 2, 4)
    np.testing.assert_allclose(objectives.nm_violations(individual, **only_dense), expected)


def test_a_kernel_that_conforms_has_no_violation():
    kernel = jnp.tile(jnp.array([1.0, 0, 0, 2]), 3)[:, None] * jnp.ones((12, 5))
    assert objectives.nm_violations({"kernel": kernel}) == 0
    assert objectives.nm_violations({"kernel": kernel[:11].at[9].set(1)}) == 0  # a group of three
    assert objectives.nm_violations({"kernel": kernel.at[1, 3].set(jnp.nan)}) == np.float32(1 / 15)


def test_macs_of_more_operations_than_an_integer_holds():
    params = {"kernel": jnp.ones((100, 100))}
    assert objectives.macs(params, {"kernel": 10**9}) == np.float32(10**13)


@pytest.mark.parametrize(
    "positions, sentence",
    [
        ({"conv/kernel": 3}, r"^positions must name kernels, which are .*, not \['conv/kernel'\]$"),
        ({"Conv_0/bias": 3}, r"^positions .* \['Conv_0/kernel', .*, not \['Conv_0/bias'\]$"),
        ({"Conv_1/kernel": 6}, r"^positions must name .* two axes, also \['Conv_0/kernel'\]$"),
        ({"Conv_0/kernel": -1}, r"^positions\['Conv_0/kernel'\] must be 0 or more, not -1$"),
    ],
)
def test_positions_are_those_of_all_convolutions(positions, sentence):
    with pytest.raises(ValueError, match=sentence):
        objectives.macs(gajax.take(population("cnn"), 0), positions)


@pytest.mark.parametrize("n, m, sentence", [(0, 4, "^n must be 1 or"), (3, 2, "^m must be 3 or")])
def test_groups_have_as_many_weights_as_may_be_nonzero(n, m, sentence):
    with pytest.raises(ValueError, match=sentence):
        objectives.nm_violations({"kernel": jnp.ones((2, 2))}, n, m)


@pytest.mark.parametrize("name", ["active_units", "macs", "nm_violations"])
def test_an_individual_has_kernels(name):
    with pytest.raises(ValueError, match=r"must hold for a leaf, of which there are \['bias'\]$"):
        getattr(objectives, name)({"bias": jnp.ones(3)})
