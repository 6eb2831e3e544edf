"""Processes of a distributed run that are killed, or whose disk is full or gone."""

import random
import re
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager

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
KILLS = "SIGKILLs of {} processes survived"
HARMS = "full disks and lost folders of two processes survived"


def outcomes_within(seconds, processes):
    """The outcomes of processes that must all end in so many seconds."""
    began = time.monotonic()
    found = outcomes(processes)
    assert time.monotonic() - began < seconds
    return found


def require_advice(outcome, victim, directory):
    """A process says in one sentence which other one has ended, and how to resume.

    A kill may come after the last result; then it says so, or ends as if nothing had happened.
    """
    status, _, errors = outcome
    is_finished = (directory / "summary.json").exists()
    if is_finished and not errors:
        assert status == 0
        return
    assert status == 1 and errors.count("\n") == 1, errors
    assert f"process {victim} of this run has ended" in errors
    resume = f"resume with: python -m experiments.gemonn --resume {directory}"
    assert (f"; {directory} is finished" if is_finished else f"; {resume}") in errors


@pytest.mark.heavy
def test_a_process_that_is_killed_ends_the_others_with_advice(start_processes, tmp_path):
    """In a few seconds, without a stack of C++, also where JAX loses its coordinator."""
    for victim in (0, 1, 2):
        directory = tmp_path / f"run-{victim}"
        processes = start_processes(4, *ENDLESS, "--out", str(directory))
        wait_for_rows(directory, 1, processes)
        processes[victim].kill()
        for index, outcome in enumerate(outcomes_within(30, processes)):
            if index != victim:
                require_advice(outcome, victim, directory)


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
    record_property("count", (KILLS.format(count), kills, kills, 0))


RESULTS = ("population.safetensors", "front.csv", "figures", "figures/connections.png")
MOMENTS = ("metrics.csv", "checkpoints/00000001", "population.safetensors", "figures")


@pytest.fixture
def resumed_later(start_processes, whole_content, one_device, record_property):
    """`with resumed_later(directory, name, label) as processes:` harms a run once the file exists.

    After the block, in which the processes end, the run is resumed and comes to the same end.
    """

    @contextmanager
    def begin(directory, name, label, before=()):
        processes = start_processes(2, *WHOLE, "--out", str(directory), before=before)
        wait_until((directory / name).exists, processes)
        yield processes
        assert resume_alone(directory, one_device) == whole_content(2)
        record_property("count", (label, 1, 1, 0))

    return begin


def require_end(processes, reason):
    """All end soon, with a sentence that gives the reason unless it came too late to matter."""
    found = outcomes_within(90, processes)
    if any(status for status, _, _ in found):
        for status, _, errors in found:
            (sentence,) = sentences(errors)
            assert status == 1 and re.match(f"gemonn: error: .*({reason})", sentence), found


@pytest.mark.heavy
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("name", RESULTS)
def test_a_process_that_is_killed_while_results_are_written_ends_the_other(
    victim, name, resumed_later, tmp_path
):
    with resumed_later(tmp_path / "run", name, KILLS.format(2)) as processes:
        processes[victim].kill()
        found = outcomes_within(30, processes)
        require_advice(found[1 - victim], victim, tmp_path / "run")


@pytest.mark.heavy
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("name", MOMENTS)
def test_a_disk_that_is_full_for_one_process_ends_all(victim, name, resumed_later, tmp_path):
    """Also where the process writes nothing anymore; then the run just ends."""
    with resumed_later(tmp_path / "run", name, HARMS) as processes:
        resource.prlimit(processes[victim].pid, resource.RLIMIT_FSIZE, (0, 0))
        require_end(processes, "File too large")


@pytest.mark.heavy
@pytest.mark.parametrize("victims", [[0], [1], [0, 1]])
@pytest.mark.parametrize("name", MOMENTS)
def test_a_folder_that_vanishes_ends_all(victims, name, resumed_later, tmp_path):
    """As where a network file system is unmounted from some of the hosts."""
    place = tmp_path / "disk"
    place.mkdir()
    unshared = ["unshare", "--mount", "--propagation", "slave"]
    mount = ["mount", "--bind", str(place), str(place)]
    if not shutil.which("unshare") or subprocess.run([*unshared, *mount]).returncode:
        pytest.skip("no file system may be mounted")
    script = f'{" ".join(mount)} && exec "$@"'
    before = [*unshared, "sh", "-c", script, "sh"]
    with resumed_later(place / "run", name, HARMS, before) as processes:
        for victim in victims:
            enter = ["nsenter", "--mount", "--target", str(processes[victim].pid)]
            hide = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
            subprocess.run([*enter, *hide], check=True)
        require_end(processes, "No such file or directory|is gone")
