"""Stop signals to processes of a distributed run, from its first moment to its last."""

import random
import signal
import time
from pathlib import Path

import pytest
from distributed_runs import (
    FLAGS,
    GEMONN,
    LAYERS,
    MNIST_GA,
    SECONDS,
    finish,
    outcomes,
    processes_of,
    resume_alone,
    row_count,
    sentences,
)
from fuzzing import scaled
from small_runs import content

SHARED = ["--connect-timeout", "30"]
PROGRAMS = {
    "gemonn": (GEMONN, [*FLAGS, *SHARED, "--generations", "4", "--plot"]),
    "mnist_ga": (MNIST_GA, [*LAYERS, *SHARED]),
}
BOUND = 90
"""Seconds within which all processes have ended, on a machine that does other things too."""
LAST_ROW = 4
RESULTS = {
    "gemonn": ["population.safetensors", "front.csv", "figures/loss.png", "figures/weights.png"],
    "mnist_ga": ["model.safetensors", "svm.skops", "figures", "figures/confusion.png"],
}
ENDS = ["summary.json", "no checkpoints"]


def is_ready(process):
    """Whether the process has begun to heed SIGTERM, as the interpreter does not at first."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False  # it has ended


def is_there(moment, directory):
    if isinstance(moment, int):
        return row_count(directory) >= moment
    if moment == "no checkpoints":
        return (directory / "summary.json").exists() and not (directory / "checkpoints").exists()
    return (directory / moment).exists()


def reach(moment, directory, processes, victims):
    """Wait for the moment, unless a process ends before; a time is in seconds since the start."""
    if isinstance(moment, float):
        time.sleep(moment)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and all(process.poll() is None for process in processes):
        if isinstance(moment, float) or is_there(moment, directory):
            break
        time.sleep(0.002)
    while not all(is_ready(victim) for victim in victims if victim.poll() is None):
        time.sleep(0.01)


def require_one_true_sentence(program, errors, status, directory):
    lines = sentences(errors)
    assert len(lines) == (status != 0), errors
    for line in lines:
        assert line.startswith(f"{program}: "), line
        has_config = (directory / "config.json").exists()
        assert has_config or "resume with" not in line, line
        assert not has_config or "nothing was written" not in line, line
        assert (directory / "summary.json").exists() or "is finished" not in line, line


@pytest.fixture(scope="module")
def undisturbed(one_device, tmp_path_factory):
    """What an undisturbed run of each program leaves, and the seconds that it took."""
    found = {}

    def of(name):
        if name not in found:
            program, words = PROGRAMS[name]
            directory = tmp_path_factory.mktemp(name) / "run"
            began = time.monotonic()
            with processes_of(one_device) as start:
                finish(start(2, *words, "--out", str(directory), program=program))
            found[name] = content(directory), time.monotonic() - began
        return found[name]

    return of


def moment_of(name, dice, seconds):
    """A moment: seconds since the start, rows of metrics, or a file that is there."""
    return dice.choice(
        [
            *(dice.uniform(0, seconds) for _ in range(8)),
            *(dice.randint(1, LAST_ROW) for _ in range(3)),
            *RESULTS[name],
            *ENDS,
        ]
    )


@pytest.mark.heavy
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("number", range(scaled(15)))
def test_a_signal_at_any_moment_ends_all(
    number, name, start_processes, undisturbed, one_device, tmp_path, record_property
):
    """With a sentence each, and leaves a run that can be resumed, or nothing."""
    good, took = 0, 0.0
    dice = random.Random(f"{name} {number}")
    program, words = PROGRAMS[name]
    expected, seconds = undisturbed(name)
    try:
        directory = tmp_path / "run"
        kind = dice.choice([signal.SIGTERM, signal.SIGINT])
        moment = moment_of(name, dice, seconds)
        processes = start_processes(2, *words, "--out", str(directory), program=program)
        # Ctrl-C reaches all processes of a terminal.
        victims = dice.choice([processes[:1], processes[1:], processes])
        print(f"{name} {number}: {kind.name} to {len(victims)} at {moment}", end="", flush=True)
        reach(moment, directory, processes, victims)
        began = time.monotonic()
        for victim in victims:
            victim.send_signal(kind)
        found = outcomes(processes)
        took = time.monotonic() - began
        print(f": {took:.1f} s, {[(status, errors) for status, _, errors in found]}")
        assert took < BOUND
        for process, (status, _, errors) in zip(processes, found, strict=True):
            # The others have not met it yet, or the run has ended already.
            assert status in ({0, 128 + kind} if process in victims else {0, 2, 128 + kind}), errors
            require_one_true_sentence(name, errors, status, directory)
        if directory.exists():
            assert resume_alone(directory, one_device, program) == expected
        good = 1
    finally:
        record_property("count", ("moments of stop signals survived", good, 1, took))
