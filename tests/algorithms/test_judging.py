"""The batch that judges children and parents is one that no child of the generation learns from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gajax

SIZE = 2
SIZES = [  # examples, batch size, gradient steps
    (1_000, 128, 20),  # more steps than an epoch has batches
    (1_000, 128, 6),
    (40, 8, 2),
    (40, 20, 5),  # two batches alone
    (50, 7, 3),
]


def loss_fn(params, batch):
    """The sum of the marks on a batch, whose gradient marks it, and a number to know it by."""
    return jnp.sum(params["marks"][batch["index"]]) + jnp.mean(batch["code"])


def stages_of(examples, batch_size, steps, make):
    """The compiled stages of a generation by their names, and the number of their turns."""
    # A step adds the gradient, so an individual keeps how often it has seen each example.
    marker = optax.GradientTransformation(
        lambda params: (), lambda slope, state, _=None: (slope, state)
    )
    algorithm = make(loss_fn, batch_size=batch_size, refine=gajax.Refine(marker, steps))
    stages = algorithm.stages(SIZE, examples)(1)
    return algorithm, {stage.name: (jax.jit(stage.run), stage.turns) for stage in stages}


@pytest.mark.parametrize("examples, batch_size, steps", SIZES)
def test_no_child_is_judged_on_a_batch_that_it_has_learned_from(examples, batch_size, steps):
    make = gajax.gemonn if steps == 2 else gajax.nsga2
    algorithm, stages = stages_of(examples, batch_size, steps, make)
    codes = jax.random.normal(jax.random.key(0), (examples,))
    data = gajax.Data({"index": jnp.arange(examples), "code": codes}, jax.random.key(1))
    population = {"marks": jnp.zeros((SIZE, examples))}
    state = jax.jit(algorithm.init)(jax.random.key(2), population, data)
    judges = set()
    per_epoch = examples // batch_size
    for generation in range(1, 2 * per_epoch + 1):
        after = state
        for name in ("refine_offspring", "evaluate_offspring", "evaluate_parents"):
            run, turns = stages[name]
            after = run(jax.random.key(3), after, data, generation, 0, turns)
        marks = np.asarray(after.offspring["marks"])
        np.testing.assert_array_equal(marks.sum(axis=1), steps * batch_size)
        np.testing.assert_array_equal(marks[0], marks[1])
        batches = min(steps, per_epoch - 1)
        assert np.count_nonzero(marks[0]) == batches * batch_size
        # Parents have learned nothing here, so their loss is the code of the batch alone, and so
        # is that of children where no example of the batch is marked.
        np.testing.assert_allclose(
            after.offspring_measured.loss, after.parent_measured.loss, rtol=1e-6
        )
        judges.add(float(after.parent_measured.loss[0]))
    assert len(judges) == 2 * per_epoch, "another batch in each generation"


def test_a_child_that_has_seen_the_batch_would_be_noticed():
    marks = jnp.zeros(10).at[3].set(1)
    batch = {"index": jnp.arange(5), "code": jnp.zeros(5)}
    assert loss_fn({"marks": marks}, batch) == 1
