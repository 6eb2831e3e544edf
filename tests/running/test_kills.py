"""Real runs that are killed at any moment, then resumed, come to the end of those that were not."""

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzzing import scaled
from small_runs import content

PROGRAMS = {
    "mnist_ga": "--layers 784 16 8 --population-size 4 --generations 3 --whole-generations 0 "
    "--optimizer adam --svm-c 5 --svm-gamma 1 --checkpoint-every 1 --quiet",
    "gemonn": "--hidden 16 --population-size 8 --batch-size 250 --budget None --generations 12 "
    "--refine-steps 20 --final-refine-steps 200 --checkpoint-every 3 --quiet",
}
REPORTED = ("model.safetensors", "svm.skops", "population.safetensors", "front.csv", "figures")
SECONDS = 300  # in which a process gets to the moment, on the slowest machine


@pytest.fixture(scope="module")
def cache_directory(tmp_path_factory):
    """What is compiled once serves all processes, which makes them start quickly."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def start(cache_directory):
    """A function that starts an experiment."""
    environment = {**os.environ, "GAJAX_CACHE_DIR": str(cache_directory)}
    environment.pop("JAX_PLATFORMS", None)

    def of(program: str, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", f"experiments.{program}", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    return of


@pytest.fixture(
    scope="module", params=["mnist_ga", pytest.param("gemonn", marks=pytest.mark.heavy)]
)
def whole(request, start, tmp_path_factory):
    """The name of an experiment, its arguments, and what an uninterrupted run leaves."""
    arguments = PROGRAMS[request.param].split()
    directory = tmp_path_factory.mktemp(request.param) / "whole"
    process = start(request.param, *arguments, "--out", str(directory))
    assert process.wait(SECONDS) == 0, process.stderr.read()
    return request.param, arguments, content(directory)


def is_there(moment: str, directory: Path, rows: int) -> bool:
    """Whether a run has come to the moment."""
    if moment == "step":
        metrics = directory / "metrics.csv"
        return metrics.exists() and len(metrics.read_text().splitlines()) > rows
    if moment == "save":
        return any(directory.glob("checkpoints/*.partial"))
    return moment == "start" or any((directory / name).exists() for name in REPORTED)


def killed(process: subprocess.Popen, moment: str, directory: Path, dice: random.Random) -> bool:
    """Kill the process a little after it has come to the moment; False if it was too quick."""
    rows = dice.randrange(1, 8)
    end = time.monotonic() + SECONDS
    while process.poll() is None and not is_there(moment, directory, rows):
        assert time.monotonic() < end, f"the run never came to {moment}"
        time.sleep(0.001)
    time.sleep(dice.uniform(0, {"start": 5, "step": 0.5, "save": 0.05, "report": 0.5}[moment]))
    process.kill()
    return process.wait() == -signal.SIGKILL


def survives(start, whole, moments, directory, dice):
    """How often a run was killed that is resumed each time, and comes to the same end."""
    program, arguments, expected = whole
    kills = 0
    for moment in [*moments, None]:
        if not (directory / "config.json").exists():  # there is nothing to resume yet
            shutil.rmtree(directory, ignore_errors=True)
        begun = directory.exists()
        words = ["--resume", str(directory)] if begun else [*arguments, "--out", str(directory)]
        process = start(program, *words)
        if moment:
            kills += killed(process, moment, directory, dice)
        else:
            assert process.wait(SECONDS) == 0, process.stderr.read()
    assert content(directory) == expected
    return kills


@pytest.mark.heavy
def test_a_killed_run_is_resumed(start, whole, tmp_path):
    survives(start, whole, ["step", "save"], tmp_path / "run", random.Random(1))


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(scaled(12)))
def test_runs_killed_at_all_moments_are_resumed(start, whole, tmp_path, number, record_property):
    """Each is killed at the start, twice on its way and while it reports."""
    dice = random.Random(number)
    moments = ["start", *dice.choices(["start", "step", "save"], k=2), "report"]
    survived, tried = 0, 1
    try:
        survived = tried = survives(start, whole, moments, tmp_path / "run", dice)
    finally:
        record_property("count", ("SIGKILLs survived", survived, tried, 0))


@pytest.mark.heavy
def test_a_signal_saves_and_says_how_to_go_on(start, whole, tmp_path):
    program, arguments, expected = whole
    name = "SIGINT" if program == "mnist_ga" else "SIGTERM"
    directory = tmp_path / "run"
    process = start(program, *arguments, "--out", str(directory))
    while not is_there("step", directory, 2):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    *_, last = process.stderr.read().splitlines()
    assert process.wait(SECONDS) == 128 + getattr(signal, name)
    advice = f"resume with: python -m experiments.{program} --resume {shlex.quote(str(directory))}"
    assert last == f"{program}: interrupted by {name}, state saved; {advice}"
    assert any((directory / "checkpoints").iterdir())
    survives(start, whole, [], directory, random.Random(0))


@pytest.mark.heavy
def test_a_second_signal_ends_a_run_at_once(start, whole, tmp_path):
    program, arguments, _ = whole
    process = start(program, *arguments, "--checkpoint-every", "0m", "--out", str(tmp_path / "run"))
    while not is_there("step", tmp_path / "run", 1):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "saving; interrupt again to exit immediately\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) in (-signal.SIGINT, 130), "130 where it had saved by then"
