"""Hours of runs in one process: memory, maps, threads and files stay level.

GAJAX_SOAK_SECONDS sets the length; by default two hours.
"""

import gc
import os
import shutil
import threading
import time
from itertools import count
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import psutil
import pytest
from small_runs import EVOLUTION, load_few

import gajax
from experiments import gemonn
from experiments.running import cache

SECONDS = float(os.environ.get("GAJAX_SOAK_SECONDS", 7_200))
LEVEL = 1.05
COMPARED = "compare --methods gemonn pruning --budget 20000 --hidden 8 --population-size 5 --quiet"


def evolve(seed):
    """A population of the library, whose loss is a new function, which is compiled again."""
    data = gajax.Data(jax.random.normal(jax.random.key(seed), (64, 8)), order_key=1)
    population = gajax.init(2, lambda key: jax.random.normal(key, (8, 3)), size=8)

    def loss_fn(params, batch):
        return jnp.mean((jnp.tanh(batch @ params) @ params.T - batch) ** 2)

    algorithm = gajax.ga(loss_fn, optimizer=optax.adam(1e-2), survivors=4, batch_size=32)
    for _ in gajax.evolve(algorithm, 3, population, data, generations=3):
        pass


def used():
    """Megabytes, memory maps, threads and open files of this process."""
    gc.collect()
    process = psutil.Process()
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    megabytes = process.memory_info().rss / 1e6
    return megabytes, maps, threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.heavy
def test_a_process_of_many_runs_stays_level(tmp_path, monkeypatch, capsys, record_property):
    load_few(monkeypatch)
    end, warm, seen = time.monotonic() + SECONDS, time.monotonic() + SECONDS / 4, None
    for number in count():
        evolve(number)
        gemonn.main([*EVOLUTION, "--seed", str(number), "--out", str(tmp_path / "run")])
        compared = [*COMPARED.split(), "--batch-size", "50", "--seed", str(number)]
        gemonn.main([*compared, "--out", str(tmp_path / "compared")])
        cache.clear_programs()
        for name in ("run", "compared"):
            shutil.rmtree(tmp_path / name)
        capsys.readouterr()
        if seen is None and time.monotonic() > warm:
            seen = used()
        if time.monotonic() > end:
            break
    seen, last = seen or used(), used()
    names = "megabytes", "maps", "threads", "files"
    shown = ", ".join(
        f"{name} {was:.0f} to {now:.0f}" for name, was, now in zip(names, seen, last, strict=True)
    )
    label = f"soak of {SECONDS:.0f} s: {shown}; runs"
    record_property("count", (label, 3 * number + 3, 3 * number + 3, 0))
    assert all(now <= LEVEL * was for was, now in zip(seen, last, strict=True)), shown
