"""Processes of a distributed run that are killed, or whose disk is full or gone."""

import random
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest
from distributed_runs import (
    ENDLESS,
    WHOLE,
    finish,
    first_or_resumed,
    outcomes,
    resume_alone,
    sentences,
    wait_for_rows,
    wait_until,
)
from small_runs import content

KILLED_RUNS = 5


@pytest.mark.heavy
def test_a_process_that_is_killed_ends_the_others_with_advice(start_processes, tmp_path):
    """In a few seconds, without a stack of C++, also where JAX loses its coordinator."""
    for victim in (0, 1, 2):
        directory = tmp_path / f"run-{victim}"
        processes = start_processes(4, *ENDLESS, "--out", str(directory))
        wait_for_rows(directory, 1, processes)
        processes[victim].send_signal(signal.SIGKILL)
        began = time.monotonic()
        for index, (status, _, errors) in enumerate(outcomes(processes)):
            if index != victim:
                assert status == 1 and errors.count("\n") == 1
                assert f"process {victim} of this run has ended" in errors
                assert f"; resume with: python -m experiments.gemonn --resume {directory}" in errors
        assert time.monotonic() - began < 30


@pytest.mark.heavy
@pytest.mark.parametrize("count", [2, 4])
def test_runs_of_which_processes_are_killed_come_to_the_same_end(
    count, start_processes, whole_content, tmp_path, record_property
):
    """One process or all of them, at any moment from the start of the first one on."""
    dice = random.Random(count)
    kills = 0
    for number in range(KILLED_RUNS):
        directory = tmp_path / f"run-{number}"
        for row in (dice.randrange(-2, 9), dice.randrange(-2, 9)):
            processes = start_processes(count, *first_or_resumed(directory, WHOLE))
            if row > 0:
                wait_for_rows(directory, row, processes)
            time.sleep(dice.uniform(0, 6 if row <= 0 else 1))
            victims = processes if dice.random() < 0.5 else [dice.choice(processes)]
            for victim in victims:
                kills += victim.poll() is None
                victim.kill()
            outcomes(processes)
        finish(start_processes(count, *first_or_resumed(directory, WHOLE)))
        assert content(directory) == whole_content(count)
    label = f"SIGKILLs of {count} processes survived"
    record_property("count", (label, kills, kills, 0))


RESULTS = ("population.safetensors", "front.csv", "figures", "figures/connections.png")
MOMENTS = ("metrics.csv", "checkpoints/00000001", "population.safetensors", "figures")


def require_end(processes, reason):
    """All end soon, with a sentence that gives the reason unless it came too late to matter."""
    began = time.monotonic()
    found = outcomes(processes)
    assert time.monotonic() - began < 90
    if any(status for status, _, _ in found):
        for status, _, errors in found:
            (sentence,) = sentences(errors)
            assert status == 1 and re.match(f"gemonn: error: .*({reason})", sentence), found


@pytest.mark.heavy
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("name", RESULTS)
def test_a_process_that_is_killed_while_results_are_written_ends_the_other(
    victim, name, start_processes, whole_content, one_device, tmp_path
):
    directory = tmp_path / "run"
    processes = start_processes(2, *WHOLE, "--out", str(directory))
    wait_until((directory / name).exists, processes)
    processes[victim].kill()
    began = time.monotonic()
    status, _, errors = outcomes(processes)[1 - victim]
    assert time.monotonic() - began < 30
    assert status == 1 and errors.count("\n") == 1, errors
    assert f"process {victim} of this run has ended" in errors
    assert f"; resume with: python -m experiments.gemonn --resume {directory}" in errors
    assert resume_alone(directory, one_device) == whole_content(2)


@pytest.mark.heavy
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("name", MOMENTS)
def test_a_disk_that_is_full_for_one_process_ends_all(
    victim, name, start_processes, whole_content, one_device, tmp_path
):
    """Also where the process writes nothing anymore; then the run just ends."""
    directory = tmp_path / "run"
    processes = start_processes(2, *WHOLE, "--out", str(directory))
    wait_until((directory / name).exists, processes)
    resource.prlimit(processes[victim].pid, resource.RLIMIT_FSIZE, (0, 0))
    require_end(processes, "File too large")
    assert resume_alone(directory, one_device) == whole_content(2)


@pytest.mark.heavy
@pytest.mark.parametrize("victims", [[0], [1], [0, 1]])
@pytest.mark.parametrize("name", MOMENTS)
def test_a_folder_that_vanishes_ends_all(
    victims, name, start_processes, whole_content, one_device, tmp_path
):
    """As where a network file system is unmounted from some of the hosts."""
    place = tmp_path / "disk"
    place.mkdir()
    unshared = ["unshare", "--mount", "--propagation", "slave"]
    mount = ["mount", "--bind", str(place), str(place)]
    if not shutil.which("unshare") or subprocess.run([*unshared, *mount]).returncode:
        pytest.skip("no file system may be mounted")
    directory = place / "run"
    script = f'{" ".join(mount)} && exec "$@"'
    before = [*unshared, "sh", "-c", script, "sh"]
    processes = start_processes(2, *WHOLE, "--out", str(directory), before=before)
    wait_until((directory / name).exists, processes)
    for victim in victims:
        enter = ["nsenter", "--mount", "--target", str(processes[victim].pid)]
        hide = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
        subprocess.run([*enter, *hide], check=True)
    require_end(processes, "No such file or directory|is gone")
    assert resume_alone(directory, one_device) == whole_content(2)
