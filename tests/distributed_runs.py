"""Runs in several processes on this machine, for tests of what they save and how they end."""

import os
import random
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from small_runs import content

ROOT = Path(__file__).parents[1]
SECONDS = 300  # in which anything happens, on the slowest machine
GEMONN = ("-m", "experiments.gemonn")
MNIST_GA = ("-m", "experiments.mnist_ga")
FLAGS = (
    "--method gemonn --hidden 8 --population-size 8 --budget None --batch-size 50 "
    "--refine-steps 1 --final-refine-steps 20 --lowest-density 0.01 --chunk-size 1 "
    "--checkpoint-every 3 --quiet"
).split()
WHOLE = [*FLAGS, "--generations", "12"]
ENDLESS = [*FLAGS, "--generations", "100000"]
LAYERS = (
    "--layers 784 16 8 --population-size 4 --generations 3 --whole-generations 3 "
    "--chunk-size 1 --optimizer adam --svm-c 5 --svm-gamma 1 --checkpoint-every 1 --quiet"
).split()


def free_port():
    """A port of 127.0.0.1 that was free a moment ago.

    It is below those that the system gives to others, such as to tests that run at the same time.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


@contextmanager
def processes_of(environment):
    """A function that starts all processes of a run, which are killed in the end."""
    started = []

    def start(count, *words, program=GEMONN, changes=None, before=()):
        """`changes` has the flags and variables that some processes have of their own.

        The words `before` are of a program that starts each process, such as `unshare`.
        """
        given = ["--distributed", "--coordinator", f"127.0.0.1:{free_port()}"]
        given += ["--processes", str(count), "--process-id"]
        for index in range(count):
            more, variables = (changes or {}).get(index, ([], {}))
            process = subprocess.Popen(
                [*before, sys.executable, *program, *words, *given, str(index), *more],
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


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The environment of processes with one CPU device each, which share what they compile."""
    cache = tmp_path_factory.mktemp("cache")
    return {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "GAJAX_CACHE_DIR": str(cache),
    }


@pytest.fixture
def start_processes(one_device):
    """A function that starts all processes of a run."""
    with processes_of(one_device) as start:
        yield start


@pytest.fixture(scope="module")
def whole_content(one_device, tmp_path_factory):
    """The content of an uninterrupted run of WHOLE, by the number of processes."""

    @cache
    def of(count):
        directory = tmp_path_factory.mktemp("whole") / "run"
        with processes_of(one_device) as start:
            finish(start(count, *WHOLE, "--out", str(directory)))
        return content(directory)

    return of


def resume_alone(directory, environment, program=GEMONN):
    """The content of the run after one process has ended it.

    It has the bits of two, as individuals are computed one by one, and is quicker.
    """
    command = [sys.executable, *program, "--resume", str(directory)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return content(directory)


def outcomes(processes):
    """Exit status, standard output and errors of each process, none of which has a stack."""
    found = []
    for process in processes:
        output, errors = process.communicate(timeout=SECONDS)
        assert "Traceback" not in errors and "stack trace" not in errors, errors
        found.append((process.returncode, output, errors))
    return found


def sentences(errors):
    """The lines of errors, without notes that do not end a process."""
    notes = "saving; interrupt again", "waiting up to", "the cache of compiled programs"
    return [line for line in errors.splitlines() if not any(note in line for note in notes)]


def finish(processes):
    """Wait for processes that all succeed, of which the first alone reports."""
    found = outcomes(processes)
    assert [status for status, _, _ in found] == [0] * len(processes), found
    reports = ["written to" in output for _, output, _ in found]  # Gloo prints a line in all
    assert reports == [True] + [False] * (len(processes) - 1)


def wait_until(is_so, processes):
    """Wait until it is so, while no process ends."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes), outcomes(processes)
        time.sleep(0.01)


def row_count(directory):
    """How many rows of metrics a run has."""
    metrics = directory / "metrics.csv"
    return max(0, metrics.read_text().count("\n") - 1) if metrics.is_file() else 0


def wait_for_rows(directory, count, processes):
    """Wait until the run has so many rows of metrics."""
    wait_until(lambda: row_count(directory) >= count, processes)


def first_or_resumed(directory, words):
    """The words that start the run or, once there is something to resume, go on with it."""
    if (directory / "config.json").exists():
        return ["--resume", str(directory)]
    return [*words, "--out", str(directory)]
