"""Evolve on several hosts; SIGTERM to any of them saves and ends all, and a new start goes on."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from sklearn.datasets import load_digits

import gajax

address, count, index, path = sys.argv[1:]  # the path is in a folder that all hosts share
jax.distributed.initialize(address, int(count), int(index))  # on a cluster without arguments


def loss_fn(params, batch):
    return jnp.mean((jnp.tanh(batch @ params) @ params.T - batch) ** 2)


dice = np.random.default_rng(0)  # data and population are the same on all hosts
data = gajax.Data(load_digits().data.astype("float32") / 16, order_key=1)
population = 0.1 * dice.normal(size=(8, 64, 10)).astype("float32")
algorithm = gajax.ga(loss_fn, optimizer=optax.adam(1e-2), survivors=4, batch_size=256, chunk_size=1)
setting = algorithm, 2, population, data

resume_from = None
if Path(path).exists():
    like = {"state": gajax.state_shapes(*setting), "position": np.zeros(3, int)}
    saved = gajax.load(path, like)
    resume_from = saved["state"], saved["position"].tolist()
with jax.set_mesh(gajax.sharding.mesh()):
    for state, info in gajax.evolve(*setting, generations=200, resume_from=resume_from):
        is_end = multihost_utils.reached_preemption_sync_point(info.generation)
        if is_end or info.generation % 100 == 0:
            whole = {"state": gajax.sharding.gather(state), "position": np.array(info.position)}
            if jax.process_index() == 0:
                gajax.save(whole, path)
                print(info.generation, info.loss.min(), flush=True)
        if is_end:
            break
