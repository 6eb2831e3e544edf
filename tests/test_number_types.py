"""Every algorithm in float64, bfloat16, float16 and mixtures, without implicit broadcasts."""

from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax

SIZE = 4
ADAM = optax.adam(0.05)
REFINE = gajax.Refine(gajax.sparse(ADAM), steps=2)


pytestmark = pytest.mark.usefixtures("strict_rank_promotion")


@contextmanager
def sixty_four_bits():
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def loss_fn(params, batch):
    return jnp.mean((batch[:, :3] @ params["kernel"] + params["bias"] - batch[:, 3]) ** 2)


ALGORITHMS = {
    "ga": lambda: gajax.ga(loss_fn, optimizer=ADAM, survivors=2, batch_size=8),
    "descent": lambda: gajax.descent(loss_fn, optimizer=ADAM, batch_size=8),
    "gemonn": lambda: gajax.gemonn(loss_fn, batch_size=8, refine=REFINE),
    "ladder": lambda: gajax.ladder(
        loss_fn, densities=(1.0, 0.7, 0.5, 0.3), optimizer=ADAM, batch_size=8, generations=2
    ),
    "nsga2": lambda: gajax.nsga2(loss_fn, batch_size=8),
    "refinement": lambda: gajax.refinement(
        loss_fn, optimizer=ADAM, batch_size=8, steps=4, checks=2
    ),
    "pruning": lambda: gajax.pruning(
        loss_fn, optimizer=ADAM, batch_size=8, moves=gajax.pruning_moves(((1.0, 4), (0.5, 4)))
    ),
}

# nsga2 is as gemonn, but for its operators, which have tests of their own for these types.
LIGHT = [pytest.param(name, marks=[pytest.mark.heavy] * (name == "nsga2")) for name in ALGORITHMS]


def run(name, kernel, bias, count=40, **options):
    """The last state, whose genes have kept their types."""
    drawn = jax.random.normal(jax.random.key(1), (SIZE, 3), jnp.float32)
    started = {"kernel": drawn.astype(kernel), "bias": jnp.ones(SIZE, bias)}
    started = gajax.take(started, slice(1)) if name == "pruning" else started
    generations = None if name in ("refinement", "pruning") else 2
    examples = np.random.default_rng(0).normal(size=(count, 4)).astype(kernel)
    steps = gajax.evolve(
        ALGORITHMS[name](), 1, started, gajax.Data(examples, 0), generations=generations, **options
    )
    *_, (state, info) = steps
    assert (state.params["kernel"].dtype, state.params["bias"].dtype) == (kernel, bias)
    assert np.isfinite(info.loss).all()
    return state


@pytest.mark.parametrize(
    "kernel, bias, together",
    [
        pytest.param(jnp.bfloat16, jnp.bfloat16, None, marks=pytest.mark.heavy),
        (jnp.float16, jnp.float16, 2),
        pytest.param(jnp.bfloat16, jnp.float32, 2, marks=pytest.mark.heavy),
    ],
)
@pytest.mark.parametrize("name", LIGHT)
def test_half_precision_is_kept_and_its_losses_are_float32(name, kernel, bias, together):
    # More examples than go through a loss at once.
    assert run(name, kernel, bias, count=1_500, together=together).loss.dtype == np.float32


@pytest.mark.parametrize(
    "kernel, bias, together",
    [
        (jnp.float64, jnp.float64, 2),
        pytest.param(jnp.float32, jnp.float64, None, marks=pytest.mark.heavy),
    ],
)
@pytest.mark.parametrize("name", LIGHT)
def test_losses_are_float64_where_64_bits_are_enabled(name, kernel, bias, together):
    with sixty_four_bits():
        assert run(name, kernel, bias, together=together).loss.dtype == np.float64


def test_a_descent_in_float64_is_that_of_numpy():
    """To more digits than float32 has."""
    examples = np.random.default_rng(0).normal(size=(8, 4))
    kernel, bias = np.array([0.5, -1.0, 2.0]), np.float64(1)
    with sixty_four_bits():
        made = gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=8)
        started = {"kernel": jnp.asarray(kernel)[None], "bias": jnp.asarray(bias)[None]}
        steps = gajax.evolve(made, 0, started, gajax.Data(examples, 0), generations=3)
        *_, (state, info) = steps
    for _ in range(3):
        errors = examples[:, :3] @ kernel + bias - examples[:, 3]
        loss = np.mean(errors**2)
        kernel, bias = (
            kernel - 0.2 * errors @ examples[:, :3] / 8,
            bias - 0.2 * np.mean(errors),
        )
    np.testing.assert_allclose(state.params["kernel"][0], kernel, rtol=1e-13)
    np.testing.assert_allclose(info.loss[0], loss, rtol=1e-13)
