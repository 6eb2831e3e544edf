"""Comparisons and `classify` whose disk is full or whose folder vanishes between their runs."""

import json
import shutil
from pathlib import Path

import pytest
from made_runs import SUMMARY, make_front
from refusals import MAINS

from experiments.autoencoder import training as autoencoder_training
from experiments.classify import pretraining
from experiments.front import training as front_training
from experiments.running import run_directory
from experiments.running.cli import run_main

COMMANDS = {
    "mnist_ga compare": (autoencoder_training, ["--rows", "ga-tanh"]),
    "gemonn compare": (front_training, ["--methods", "gemonn"]),
    "gemonn classify": (pretraining, ["--datasets", "mnist5k", "--methods", "gemonn"]),
}
ROWS = [{"name": "GEMONN", "density": 0.1, "kept": None, "free": [0.9]}]
RESULTS = {**SUMMARY, "dataset": "mnist5k", "rows": ROWS}


@pytest.fixture(params=COMMANDS)
def compare(request, monkeypatch, capsys, tmp_path):
    """`compare(after)` runs two seeds and calls `after(directory)` when one has its results.

    It gives the exit status, the sentence on standard error, and the seeds that were trained.
    """
    program, name = request.param.split()
    module, words = COMMANDS[request.param]
    words = [program, name, *words, "--seeds", "2", "--quiet", "--out", str(tmp_path / "runs")]
    monkeypatch.setattr("sys.argv", words)

    def of(after):
        trained = []

        def run(config, dataset, directory, title=""):
            trained.append(config.seed)
            make_front(directory)
            (directory / "summary.json").unlink()
            run_directory.save_config(config, directory / "config.json")
            summary = {**RESULTS, "method": config.method, "seed": config.seed}
            run_directory.save_summary(summary, directory)
            after(directory)

        monkeypatch.setattr(module, "run", run)
        status = run_main(MAINS[program], program)
        (sentence,) = capsys.readouterr().err.splitlines()
        assert sentence.startswith(f"{program}: error: ")
        return status, sentence, trained

    return of


@pytest.mark.parametrize("last", [0, 1])
def test_a_comparison_whose_folder_vanishes_trains_no_further(last, compare, tmp_path):
    runs = tmp_path / "runs"

    def vanish(directory):
        if directory.name.endswith(f"-{last}"):
            shutil.rmtree(runs)

    status, sentence, trained = compare(vanish)
    assert status == 1 and trained == [*range(last + 1)]
    assert "No such file or directory" in sentence
    assert sentence.endswith(f"; the directory {runs} is gone")
    assert not runs.exists()


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_comparison_whose_disk_is_full_says_how_to_go_on(name, compare, tmp_path, monkeypatch):
    """And repeats no run that is finished."""
    write = Path.write_bytes

    def full(path, content):
        if path.parent.name.endswith("-1") and path.name.startswith(name):
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    runs = tmp_path / "runs"
    for seeds in ([0, 1], [1]):
        status, sentence, trained = compare(lambda directory: None)
        assert status == 1 and trained == seeds
        assert f"No space left on device: '{runs}" in sentence and name in sentence
        assert sentence.endswith(f"; resume with the same command and --out {runs}")
        (finished,) = runs.glob("*/summary.json")
        assert json.loads(finished.read_text())["seed"] == 0
        assert not [path for path in runs.rglob("*") if "partial" in path.name]
