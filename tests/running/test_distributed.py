"""Runs in several processes: what they save, how they end, and that they come to the same end."""

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from small_runs import content

from experiments.running import checkpoints

ROOT = Path(__file__).parents[2]
SECONDS = 300  # in which anything happens, on the slowest machine
FLAGS = (
    "--method gemonn --hidden 8 --population-size 8 --budget None --batch-size 50 "
    "--refine-steps 1 --final-refine-steps 20 --lowest-density 0.01 --chunk-size 1 "
    "--checkpoint-every 3 --quiet"
).split()
KILLED_RUNS = 5
WHOLE = [*FLAGS, "--generations", "12"]
ENDLESS = [*FLAGS, "--generations", "100000"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Processes on one CPU device each, which share what they have compiled."""
    cache = tmp_path_factory.mktemp("cache")
    return {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "GAJAX_CACHE_DIR": str(cache),
    }


@contextmanager
def processes_of(environment):
    """A function that starts all processes of a run, which are killed in the end."""
    started = []

    def start(count, *words, program=("-m", "experiments.gemonn"), changes=None):
        """`changes` has the flags and variables that some processes have of their own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        given = ["--distributed", "--coordinator", f"127.0.0.1:{port}", "--processes", str(count)]
        for index in range(count):
            more, variables = (changes or {}).get(index, ([], {}))
            command = [sys.executable, *program, *words, *given, "--process-id", str(index), *more]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.append(process)
        return started[-count:]

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture
def start(environment):
    """A function that starts all processes of a run."""
    with processes_of(environment) as start:
        yield start


def outcomes(processes):
    """Exit status, standard output and errors of each process, none of which has a stack."""
    found = []
    for process in processes:
        output, errors = process.communicate(timeout=SECONDS)
        assert "Traceback" not in errors and "stack trace" not in errors, errors
        found.append((process.returncode, output, errors))
    return found


def finish(processes):
    """Wait for processes that all succeed."""
    found = outcomes(processes)
    assert [status for status, _, _ in found] == [0] * len(processes), found
    assert ["hypervolume" in output for _, output, _ in found] == [True] + [False] * (
        len(processes) - 1
    ), "the first reports"


def wait_for_rows(directory, count, processes):
    """Wait until the run has so many rows of metrics."""
    metrics = directory / "metrics.csv"
    end = time.monotonic() + SECONDS
    while not metrics.is_file() or metrics.read_text().count("\n") <= count:
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes), outcomes(processes)
        time.sleep(0.01)


def test_a_signal_to_any_process_saves_all_and_ends_all(start, tmp_path):
    """And each process has written its shards, which one process reads whole."""
    directory = tmp_path / "run"
    processes = start(2, *ENDLESS, "--out", str(directory))
    wait_for_rows(directory, 1, processes)
    processes[1].send_signal(signal.SIGTERM)
    for index, (status, _, errors) in enumerate(outcomes(processes)):
        assert status == 128 + signal.SIGTERM
        last = errors.splitlines()[-1]
        assert last.startswith("gemonn: interrupted by SIGTERM, state saved; resume with: ")
        words = shlex.split(last.partition("resume with: ")[2])
        assert words[3:5] == ["--resume", str(directory)] and words[-2:] == [
            "--process-id",
            str(index),
        ]
    newest = max((directory / "checkpoints").iterdir())
    for index in range(2):
        assert any((newest / "arrays").glob(f"*process_{index}*")), "each writes its shards"
    found = checkpoints.load(directory / "checkpoints", pytest.fail)
    assert found is not None and found.facts["phase"] == "evolution"
    shapes = [array.shape for array in found.arrays]
    assert (8, 784, 8) in shapes, "one process reads the whole population"


@pytest.mark.heavy
def test_a_process_that_is_killed_ends_the_others_with_advice(start, tmp_path):
    """In a few seconds, without a stack of C++, also where JAX loses its coordinator."""
    for victim in (0, 1, 2):
        directory = tmp_path / f"run-{victim}"
        processes = start(4, *ENDLESS, "--out", str(directory))
        wait_for_rows(directory, 1, processes)
        processes[victim].send_signal(signal.SIGKILL)
        began = time.monotonic()
        for index, (status, _, errors) in enumerate(outcomes(processes)):
            if index != victim:
                assert status == 1 and errors.count("\n") == 1
                assert f"process {victim} of this run has ended" in errors
                assert f"; resume with: python -m experiments.gemonn --resume {directory}" in errors
        assert time.monotonic() - began < 30


@pytest.fixture(scope="module")
def whole(environment, tmp_path_factory):
    """`whole(count)` gives the content of an uninterrupted run with `count` processes."""

    @cache
    def of(count):
        directory = tmp_path_factory.mktemp("whole") / "run"
        with processes_of(environment) as start:
            finish(start(count, *WHOLE, "--out", str(directory)))
        return content(directory)

    return of


@pytest.mark.heavy
@pytest.mark.parametrize("count", [2, 4])
def test_runs_of_which_processes_are_killed_come_to_the_same_end(count, start, whole, tmp_path):
    """One process or all of them, at any moment from the start of the first one on."""
    dice = random.Random(count)
    kills = 0
    for number in range(KILLED_RUNS):
        directory = tmp_path / f"run-{number}"
        for row in (dice.randrange(-2, 9), dice.randrange(-2, 9)):
            if not (directory / "config.json").exists():
                shutil.rmtree(directory, ignore_errors=True)
            begun = directory.exists()
            words = ["--resume", str(directory)] if begun else [*WHOLE, "--out", str(directory)]
            processes = start(count, *words)
            if row > 0:
                wait_for_rows(directory, row, processes)
            time.sleep(dice.uniform(0, 6 if row <= 0 else 1))
            victims = processes if dice.random() < 0.5 else [dice.choice(processes)]
            for victim in victims:
                kills += victim.poll() is None
                victim.kill()
            outcomes(processes)
        if not (directory / "config.json").exists():
            shutil.rmtree(directory, ignore_errors=True)
        begun = directory.exists()
        words = ["--resume", str(directory)] if begun else [*WHOLE, "--out", str(directory)]
        finish(start(count, *words))
        assert content(directory) == whole(count)
    print(f"SIGKILLs of {count} processes survived: {kills} of {kills}")


@pytest.mark.heavy
def test_another_number_of_processes_goes_on(start, whole, environment, tmp_path):
    """Four, then two, then one that is not distributed; individuals are computed one by one."""
    directory = tmp_path / "run"
    words = [*WHOLE, "--out", str(directory)]
    for count, rows in ((4, 1), (2, 5)):
        processes = start(count, *words)
        wait_for_rows(directory, rows, processes)
        processes[0].send_signal(signal.SIGINT)
        assert {status for status, _, _ in outcomes(processes)} == {130}
        words = ["--resume", str(directory)]
    status = [process.returncode for process in start(3, *words) if process.communicate()]
    assert status == [2, 2, 2], "8 individuals do not divide"
    command = [sys.executable, "-m", "experiments.gemonn", *words]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert content(directory) == whole(2) == whole(4)


@pytest.mark.heavy
def test_several_seeds_and_the_other_experiment(start, tmp_path):
    seeds = tmp_path / "seeds"
    finish(start(2, *WHOLE, "--seeds", "2", "--out", str(seeds)))
    assert (seeds / "seed-1" / "summary.json").exists() and not any(seeds.rglob("checkpoints"))
    run = tmp_path / "run"
    words = "--layers 784 16 8 --population-size 4 --generations 3 --whole-generations 3 "
    words += "--optimizer adam --svm-c 5 --svm-gamma 1 --checkpoint-every 1 --quiet"
    program = ("-m", "experiments.mnist_ga")
    processes = start(2, *words.split(), "--out", str(run), program=program)
    wait_for_rows(run, 4, processes)
    processes[1].send_signal(signal.SIGTERM)
    assert {status for status, _, _ in outcomes(processes)} == {143}
    found = outcomes(start(2, "--resume", str(run), program=program))
    assert [status for status, _, _ in found] == [0, 0], found
    finish_alone = outcomes(
        start(2, *words.split(), "--out", str(tmp_path / "whole"), program=program)
    )
    assert [status for status, _, _ in finish_alone] == [0, 0]
    assert content(run) == content(tmp_path / "whole")


PAIRS = {
    "--learning-rate": "0.01",
    "--seed": "1",
    "--seeds": "2",
    "--dataset": "rectangles",
    "--generations": "13",
    "--hidden": "9",
    "--model": "deep-autoencoder",
    "--population-size": "16",
    "--batch-size": "40",
    "--method": "nsga2",
    "--refine-steps": "2",
    "--precision": "bfloat16",
    "--validation": "100",
    "--budget": "1e6",
    "--chunk-size": "2",
    "JAX_ENABLE_X64": "1",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "--processes": "3",
}


@pytest.mark.heavy
def test_pairs_of_processes_that_disagree_are_refused(start, tmp_path):
    refused = 0
    for name, value in PAIRS.items():
        is_flag = name.startswith("--")
        words, variables = ([name, value], {}) if is_flag else ([], {name: value})
        if name == "--model":
            words += ["--hidden", "8", "8", "8", "8"]
        processes = start(
            2, *WHOLE, "--out", str(tmp_path / "run"), changes={1: (words, variables)}
        )
        found = outcomes(processes)
        shown = {"--seeds": "--seed", "JAX_ENABLE_X64": "jax_enable_x64"}.get(name, name)
        is_named = all(shown.lower() in errors.lower() for _, _, errors in found)
        is_one = all(errors.count("\n") == 1 for _, _, errors in found)
        is_clean = not (tmp_path / "run").exists()
        if [status for status, _, _ in found] == [2, 2] and is_named and is_one and is_clean:
            refused += 1
        else:
            print(name, found, is_clean)
    print(f"pairs of processes that disagree: {refused} of {len(PAIRS)} refused")
    assert refused == len(PAIRS)


LIBRARY = """
import sys
from pathlib import Path
import jax, numpy as np, optax
from jax import numpy as jnp
from jax.experimental import multihost_utils
import gajax

port, index, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
jax.distributed.initialize(f"127.0.0.1:{port}", 2, index)

def loss_fn(params, batch):
    return jnp.mean((jnp.tanh(batch @ params) @ params.T - batch) ** 2)

dice = np.random.default_rng(0)
data = gajax.Data(dice.normal(size=(256, 8)).astype(np.float32), order_key=1)
population = dice.normal(size=(8, 8, 3)).astype(np.float32)
options = {"survivors": 4, "batch_size": 64, "chunk_size": 1}
setting = gajax.ga(loss_fn, optimizer=optax.adam(1e-2), **options), 3, population, data
with jax.set_mesh(gajax.sharding.mesh()):
    for state, info in gajax.evolve(*setting, generations=4):
        if info.generation == 2:
            whole, position = gajax.sharding.gather(state), info.position
            if jax.process_index() == 0:
                gajax.save(whole, path)
            multihost_utils.sync_global_devices("saved")
    end = gajax.sharding.gather(state)
    state = gajax.load(path, gajax.state_shapes(*setting))
    for state, info in gajax.evolve(*setting, generations=4, resume_from=(state, position)):
        pass
    resumed = gajax.sharding.gather(state)
jax.tree.map(np.testing.assert_array_equal, resumed, end)
assert info.generation == 4
"""


@pytest.mark.heavy
def test_the_library_saves_and_resumes_in_several_processes(environment, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", LIBRARY, port]
    place = {"cwd": ROOT, "env": environment, "stderr": subprocess.PIPE}
    path = str(tmp_path / "state.safetensors")
    both = [subprocess.Popen([*command, index, path], **place) for index in "01"]
    errors = [process.communicate(timeout=SECONDS)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
