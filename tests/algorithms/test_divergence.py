"""Descent that diverges and losses that are infinite: individuals fail, and evolution goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from relu_model import BATCH, GA, SIZE, SURVIVORS, data, draw, ends, evolve, finite, loss_fn
from small_model import OPTIONS, assert_same, on_host

import gajax


def steep(params, batch):
    """Descent on it diverges at a rate for which others are fine, where the slope is high."""
    slope = jax.lax.stop_gradient(params["slope"])
    return jnp.mean((slope * batch["inputs"] @ params["first"] - batch["targets"]) ** 2)


def test_individuals_that_diverge_are_discarded_without_children():
    """Those that diverge are the best to begin with; children of theirs would diverge too."""
    made = GA(
        steep,
        optimizer=optax.sgd(0.1, 0.9),
        batch_size=BATCH,
        epochs=30,
        crossover=lambda key, first, second: (first, second),
    )
    population = {
        "first": draw()["first"][:, :, 0].at[:2].set(0),
        "slope": jnp.ones(SIZE).at[:2].set(1e3),
    }
    (_, first), (state, info), *_ = ends(evolve(made, population, data(), 2))
    assert first.failed == 0
    assert (state.params["slope"][:-2] == 1).all(), "no child has the slope of those discarded"
    np.testing.assert_array_equal(np.isfinite(info.loss), [True] * 6 + [False] * 2)
    assert info.failed == 2 and finite(state.params).all()


def test_a_loss_that_is_infinite_early_takes_no_part_in_mating_however_the_run_is_cut():
    """One batch is infinite for the individuals whose units are on there, and nothing else is."""
    made = GA(
        loss_fn,
        batch_size=BATCH,
        crossover=lambda key, first, second: (first, second),
        mutation=lambda key, individual: individual,
    )
    population, examples = draw(), data("inf", 1)
    off = population["first"][:, 0].at[:4].set(-jnp.abs(population["first"][:4, 0]))
    population["first"] = population["first"].at[:, 0].set(off)
    steps = evolve(made, population, examples, 2)
    failures = 0
    for trained, bred in zip(steps, steps[1:], strict=False):
        if bred[1].stage != "breed":
            continue
        survivors = trained[0].params["first"][:SURVIVORS]
        has_failed = ~np.isfinite(trained[0].total.loss[:SURVIVORS])
        children = bred[0].params["first"][SURVIVORS:]
        is_child_of = (children[:, None] == survivors).all(axis=(2, 3))
        assert is_child_of.any(axis=1).all() and not is_child_of[:, has_failed].any()
        failures += has_failed.sum()
        assert not has_failed.all()
    assert failures > 0, "so that the test shows something"
    whole = gajax.evolve(made, jax.random.key(4), population, examples, generations=2)
    assert_same(on_host(whole)[-1][0], steps[-1][0])


@pytest.mark.parametrize("name", [pytest.param("nsga2", marks=pytest.mark.heavy), "refinement"])
def test_a_rate_at_which_everything_diverges_discards_no_parent(name):
    optimizer = gajax.sparse(optax.sgd(1e30))
    options = {"refine": gajax.Refine(optimizer, 3), **OPTIONS["nsga2"]}
    if name == "refinement":
        options = {"optimizer": optimizer, "steps": 20}
    made = getattr(gajax, name)(loss_fn, batch_size=BATCH, **options)
    steps = evolve(made, draw(), data(), None if name == "refinement" else 3)
    assert all(finite(state.params).all() for state, _ in steps)
    assert np.isfinite(steps[-1][1].loss).all()
    failed = [int(info.failed) for _, info in ends(steps)]
    assert failed == ([0] * len(failed) if name == "refinement" else [0, SIZE, SIZE, SIZE])


@pytest.mark.parametrize("name", ["ga", "descent"])
def test_where_all_individuals_fail_all_are_counted(name):
    make = GA if name == "ga" else gajax.descent
    made = make(loss_fn, optimizer=optax.sgd(1e30), batch_size=BATCH)
    infos = [info for _, info in ends(evolve(made, draw(), data(), 1))]
    assert infos[-1].failed == SIZE and not np.isfinite(infos[-1].loss).any()
