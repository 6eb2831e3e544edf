"""Runs in several processes: what they save, how they end, and that they come to the same end."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.running import checkpoints

ROOT = Path(__file__).parents[2]
SECONDS = 300  # in which anything happens, on the slowest machine
FLAGS = (
    "--method gemonn --hidden 8 --population-size 8 --budget None --batch-size 50 "
    "--refine-steps 1 --final-refine-steps 20 --lowest-density 0.01 --chunk-size 1 "
    "--checkpoint-every 3 --quiet"
).split()
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


@pytest.fixture
def start(environment):
    """A function that starts all processes of a run."""
    started = []

    def all_of(count, *words, start=("-m", "experiments.gemonn"), changes=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        given = ["--distributed", "--coordinator", f"127.0.0.1:{port}", "--processes", str(count)]
        processes = [
            subprocess.Popen(
                [sys.executable, *start, *words, *given, "--process-id", str(index)]
                + (changes or {}).get(index, []),
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(count)
        ]
        started.extend(processes)
        return processes

    yield all_of
    for process in started:
        process.kill()
        process.communicate()


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
