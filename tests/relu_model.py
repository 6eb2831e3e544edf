"""A network whose units may be off, on examples some of which are not finite."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from small_model import on_host

import gajax

SIZE, SURVIVORS, EXAMPLES, BATCH = 8, 4, 40, 8
ADAM = optax.adam(0.02)
BAD = {"nan": jnp.nan, "inf": jnp.inf}


def loss_fn(params, batch):
    """A unit that is off hides what feeds it."""
    hidden = batch["inputs"] @ params["first"] + params["bias"]
    outputs = jnp.where(hidden > 0, hidden, 0) @ params["second"]
    return jnp.mean((outputs - batch["targets"]) ** 2)


GA = partial(gajax.ga, survivors=SURVIVORS, optimizer=ADAM, score_examples=2 * BATCH)


def draw():
    """A population."""
    keys = jax.random.split(jax.random.key(0))
    return {
        "first": jax.random.normal(keys[0], (SIZE, 5, 6)) / 2,
        "bias": jnp.full((SIZE, 6), 0.1),
        "second": jax.random.normal(keys[1], (SIZE, 6)) / 2,
    }


def data(bad=None, count=0):
    """Examples, the last `count` of which hold a number that is not finite."""
    inputs = jax.random.normal(jax.random.key(2), (EXAMPLES, 5))
    examples = {"inputs": inputs, "targets": jnp.tanh(inputs[:, 0])}
    if count:
        examples["inputs"] = inputs.at[-count:, 0].set(BAD[bad])
    return gajax.Data(examples, jax.random.key(3))


def evolve(algorithm, population, data, generations):
    """The state and info of every turn, on the host."""
    options = {"generations": generations, "seconds": 1e-9}
    return on_host(gajax.evolve(algorithm, jax.random.key(4), population, data, **options))


def ends(steps):
    return [step for step in steps if step[1].done]


def finite(tree):
    """Whether all of each individual's numbers are finite."""
    leaves = [
        np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in jax.tree.leaves(tree)
    ]
    return np.all(leaves, axis=0)
