"""Runs in several processes: what they save, how they go on, and the same from the library."""

import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from distributed_runs import (
    ENDLESS,
    LAYERS,
    MNIST_GA,
    ROOT,
    WHOLE,
    finish,
    free_port,
    outcomes,
    resume_alone,
    wait_for_rows,
    wait_until,
)
from safetensors import safe_open
from small_runs import content

from experiments.running import checkpoints


def test_a_signal_to_any_process_saves_all_and_ends_all(start_processes, tmp_path):
    """And each process has written its shards, which one process reads whole."""
    directory = tmp_path / "run"
    processes = start_processes(2, *ENDLESS, "--out", str(directory))
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
def test_another_number_of_processes_goes_on(start_processes, whole_content, one_device, tmp_path):
    """Four, then two, then one that is not distributed; individuals are computed one by one."""
    directory = tmp_path / "run"
    words = [*WHOLE, "--out", str(directory)]
    for count, rows in ((4, 1), (2, 5)):
        processes = start_processes(count, *words)
        wait_for_rows(directory, rows, processes)
        processes[0].send_signal(signal.SIGINT)
        assert {status for status, _, _ in outcomes(processes)} == {130}
        words = ["--resume", str(directory)]
    refused = outcomes(start_processes(3, *words))
    assert [status for status, _, _ in refused] == [2, 2, 2], "8 individuals do not divide"
    assert resume_alone(directory, one_device) == whole_content(2) == whole_content(4)


@pytest.mark.heavy
def test_several_seeds_and_the_other_experiment(start_processes, one_device, tmp_path):
    """Whose survivors have other places on another number of devices."""
    seeds = tmp_path / "seeds"
    finish(start_processes(2, *WHOLE, "--seeds", "2", "--out", str(seeds)))
    assert (seeds / "seed-1" / "summary.json").exists() and not any(seeds.rglob("checkpoints"))
    run, whole = tmp_path / "run", tmp_path / "whole"
    processes = start_processes(2, *LAYERS, "--out", str(run), program=MNIST_GA)
    wait_for_rows(run, 4, processes)
    processes[1].send_signal(signal.SIGTERM)
    assert {status for status, _, _ in outcomes(processes)} == {143}
    alone = shutil.copytree(run, tmp_path / "alone")
    finish(start_processes(2, "--resume", str(run), program=MNIST_GA))
    finish(start_processes(2, *LAYERS, "--out", str(whole), program=MNIST_GA))
    assert content(run) == content(whole) == resume_alone(alone, one_device, MNIST_GA)


@pytest.mark.heavy
def test_the_example_of_the_book_saves_stops_and_goes_on(one_device, tmp_path):
    """The one for users of the library; SIGTERM comes to process 1, and all save the same state."""

    def start(path):
        command = [sys.executable, "-m", "experiments.examples.several_hosts"]
        command += [f"127.0.0.1:{free_port()}", "2"]
        place = {"cwd": ROOT, "env": one_device, "text": True, "stdout": subprocess.PIPE}
        return [
            subprocess.Popen([*command, str(index), str(path)], **place, stderr=subprocess.PIPE)
            for index in range(2)
        ]

    def generation_of(path):
        with safe_open(path, "numpy") as file:
            return int(file.get_tensor("position")[0])

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    assert [status for status, _, _ in outcomes(start(whole))] == [0, 0]
    processes = start(cut)
    wait_until(cut.exists, processes)  # after the first generation
    processes[1].send_signal(signal.SIGTERM)
    assert [status for status, _, _ in outcomes(processes)] == [0, 0]
    assert generation_of(cut) < generation_of(whole) == 201
    assert [status for status, _, _ in outcomes(start(cut))] == [0, 0]
    assert cut.read_bytes() == whole.read_bytes()
