"""A small network with its data, and the algorithms that train it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gajax
from gajax import crossover, mutation

SIZE, SURVIVORS, EXAMPLES, BATCH, STEPS, CHECKS = 16, 8, 48, 16, 12, 3
GENES = 6 * 5 + 5 * 2
ADAM = optax.adam(0.01)
SPARSE = gajax.sparse(ADAM)
OPTIONS = {
    "ga": {"optimizer": ADAM, "survivors": SURVIVORS},
    # Its default operators take the longest to compile, and have tests of their own.
    "nsga2": {
        "crossover": partial(crossover.uniform, rate=0.3),
        "mutation": partial(mutation.gaussian, rate=0.1, scale=0.1),
    },
    "gemonn": {"refine": gajax.Refine(SPARSE, 2)},
    "ladder": {
        "optimizer": ADAM,
        "densities": tuple(np.linspace(1, 0.1, SIZE).tolist()),
        "generations": 3,
        "steps": 2,
    },
    "descent": {"optimizer": ADAM},
    "refinement": {"optimizer": SPARSE, "steps": STEPS, "checks": CHECKS},
}
FIRST = {"ga": 0, "nsga2": 0, "gemonn": 0, "ladder": 1, "descent": 1, "refinement": 0}
"""The first generation: 1 where there is none that only scores."""


def loss_fn(params, batch):
    outputs = jnp.tanh(batch["inputs"] @ params["first"]) @ params["second"]
    return jnp.mean((outputs - batch["targets"]) ** 2)


def draw(key):
    keys = jax.random.split(key)
    first, second = jax.random.normal(keys[0], (6, 5)), jax.random.normal(keys[1], (5, 2))
    return {"first": first, "second": second}


INPUTS = jax.random.normal(jax.random.key(5), (EXAMPLES, 6))
DATA = gajax.Data({"inputs": INPUTS, "targets": jnp.tanh(INPUTS[:, :2])}, jax.random.key(7))


def population(seed=1):
    """Individuals from sparse to dense."""
    return _population(jax.random.key(seed))


@jax.jit
def _population(key):
    return gajax.init(key, draw, SIZE, densities=gajax.linear_densities(SIZE))


def make(name, loss_fn, **options):
    """An algorithm by its name.

    Equal arguments give the same object. A module that changes a setting of gajax must therefore
    bring a loss of its own.
    """
    return getattr(gajax, name)(loss_fn, batch_size=BATCH, **OPTIONS[name], **options)


def on_host(steps):
    """All states and infos of a run, kept."""
    return [(jax.device_get(state), info) for state, info in steps]


def assert_same(result, expected):
    """Equal to the bit, NaN included."""
    jax.tree.map(np.testing.assert_array_equal, result, expected)
