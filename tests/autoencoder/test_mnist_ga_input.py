"""Every mistake on the command line of mnist_ga: one sentence, exit status 2, nothing written."""

import csv
import json

import numpy as np
import pytest

from experiments import mnist_ga
from experiments.autoencoder.checks import check_dataset
from experiments.datasets.catalog import load
from experiments.running import checkpoints
from experiments.running.cli import InputError, run_main

MISTAKES = {
    "layers that do not start at the image": ["--layers", "100", "50"],
    "one layer": ["--layers", "784"],
    "an empty layer": ["--layers", "784", "0", "50"],
    "no layer": ["--layers"],
    "a population of one": ["--population-size", "1"],
    "a negative population": ["--population-size", "-4"],
    "a rate above one": ["--mutation-rate", "1.5"],
    "a negative rate": ["--crossover-rate", "-0.1"],
    "a rate that is no number": ["--mutation-rate", "nan"],
    "a rate of nothing": ["--mutation-rate", ""],
    "a learning rate of zero": ["--learning-rate", "0"],
    "an infinite learning rate": ["--learning-rate", "inf"],
    "a negative scale": ["--mutation-scale", "-1"],
    "a wrong activation": ["--activation", "gelu"],
    "a wrong method": ["--method", "genetic"],
    "a wrong data set": ["--dataset", "mnist6k"],
    "a wrong target": ["--target", "pixels"],
    "a wrong preset": ["--preset", "ours"],
    "a wrong crossover": ["--crossover", "two_point"],
    "a wrong mutation": ["--mutation", "swap"],
    "a wrong selection": ["--selection", "roulette"],
    "a wrong optimiser": ["--optimizer", "lbfgs"],
    "a wrong schedule": ["--schedule", "linear"],
    "a wrong precision": ["--precision", "float16"],
    "no generations": ["--generations", "0"],
    "generations for too few layers": ["--generations", "1", "2"],
    "half a generation": ["--generations", "1.5"],
    "negative whole generations": ["--whole-generations", "-1"],
    "no epochs": ["--finetune-epochs", "0"],
    "an empty batch": ["--batch-size", "0"],
    "a batch above the data": ["--batch-size", "5001"],
    "nothing to score": ["--score-examples", "0"],
    "all held out": ["--validation", "5000"],
    "a negative validation": ["--validation", "-1"],
    "a C of zero": ["--svm-c", "0"],
    "a negative gamma": ["--svm-gamma", "-1"],
    "an empty chunk": ["--chunk-size", "0"],
    "a negative seed": ["--seed", "-1"],
    "a seed that does not fit": ["--seed", str(2**32)],
    "a seed that is no number": ["--seed", "one"],
    "no seeds": ["--seeds", "0"],
    "less than no seeds": ["--seeds", "-3"],
    "a seed taken for a number of seeds": ["--seeds", "20261122"],
    "a seed twice": ["--seeds", "4", "7", "4"],
    "a negative seed in a list": ["--seeds", "0", "-1"],
    "a seed in a list that does not fit": ["--seeds", "0", str(2**32)],
    "seeds from the last one on": ["--seed", str(2**32 - 1), "--seeds", "2"],
    "compare with a seed twice": ["compare", "--seeds", "1", "1"],
    "an unknown flag": ["--populaton-size", "10"],
    "an unknown command": ["preditc"],
    "a stray word": ["--quiet", "extra"],
    "a config that is not there": ["--config", "missing.json"],
    "a data folder that is not there": ["--dataset", "mnist", "--data-dir", "missing"],
    "a data folder without files": ["--dataset", "mnist", "--data-dir", "."],
    "a data folder for the embedded set": ["--data-dir", "."],
    "predict without a run": ["predict", "digit.png"],
    "predict without an image": ["predict", "--run", "."],
    "predict on no run": ["predict", "--run", ".", "digit.png"],
    "predict with a wrong invert": ["predict", "--run", ".", "--invert", "maybe", "digit.png"],
    "compare with a wrong row": ["compare", "--rows", "ga-tanh", "adam"],
    "compare without seeds": ["compare", "--seeds"],
    "compare with a wrong layer": ["compare", "--layers", "10", "5"],
}


def fails_well(arguments, monkeypatch, capsys):
    """The one line on stderr of a command line that must fail with status 2."""
    monkeypatch.setattr("sys.argv", ["mnist_ga", *arguments])
    assert run_main(mnist_ga.main, "mnist_ga") == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1 and output.err.startswith("mnist_ga: error: ")
    return output.err


@pytest.mark.parametrize("arguments", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_one_sentence_and_leaves_nothing(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = fails_well(arguments, monkeypatch, capsys)
    named = [word for word in arguments if word.startswith("--")]
    assert any(word in line for word in [*named, "--run", "IMAGE", repr(arguments[-1])])
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_in_use_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    line = fails_well(["--out", str(tmp_path)], monkeypatch, capsys)
    assert "--out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_out_below_a_file_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    assert "--out" in fails_well(["--out", str(tmp_path / "file" / "run")], monkeypatch, capsys)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"mutation_rate": 2}', '{"mutation_rate": "a"}', '{"mutation": 1}', '{"x": 1}'],
)
def test_bad_config_file_is_one_sentence(content, tmp_path, monkeypatch, capsys):
    path = tmp_path / "config.json"
    path.write_text(content)
    monkeypatch.chdir(tmp_path)
    fails_well(["--config", str(path)], monkeypatch, capsys)
    assert list(tmp_path.iterdir()) == [path]


def test_predict_refuses_a_run_that_its_config_does_not_describe(
    small_run, tmp_path, monkeypatch, capsys
):
    for name in ("summary.json", "model.safetensors", "svm.skops"):
        (tmp_path / name).write_bytes((small_run / name).read_bytes())
    config = json.loads((small_run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"layers": [784, 30, 16]}))
    line = fails_well(["predict", "--run", str(tmp_path), "a.png"], monkeypatch, capsys)
    assert "--run" in line


@pytest.mark.parametrize("method", ["ga", "layerwise", "sgd"])
def test_a_training_in_which_all_die_stops_there_and_keeps_its_metrics(
    method, tmp_path, monkeypatch, capsys
):
    """Though there are more generations and phases, and several steps to each generation."""
    arguments = (
        f"--method {method} --optimizer sgd --schedule constant --learning-rate 1e30 "
        "--layers 784 16 8 --generations 3 --whole-generations 1 --population-size 4 "
        f"--finetune-epochs 3 --quiet --out {tmp_path / 'run'}"
    )
    line = fails_well(arguments.split(), monkeypatch, capsys)
    phase = "all layers" if method == "sgd" else "784-16"
    assert line == (
        "mnist_ga: error: --learning-rate must be lower than 1e+30, at which no loss was finite in "
        f"generation 1 of phase {phase}; the state is saved in {tmp_path}/run/checkpoints\n"
    )
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"config.json", "metrics.csv", "checkpoints"}
    saved = checkpoints.load(tmp_path / "run" / "checkpoints", pytest.fail)
    assert saved and [len(own["rows"]) for own in saved.facts["recorders"]] == [
        1 + (method == "ga")
    ]
    with (tmp_path / "run" / "metrics.csv").open() as file:
        failed = [(int(row["generation"]), int(row["failed"])) for row in csv.DictReader(file)]
    assert failed == ([(0, 0), (1, 4)] if method == "ga" else [(1, 1)])
    assert "--learning-rate" in line


@pytest.mark.parametrize("label", [0, 7])
def test_images_of_one_class_are_refused_before_training(label, small_config):
    whole = load("mnist5k")
    alone = whole._replace(train_labels=np.full_like(whole.train_labels, label))
    with pytest.raises(InputError, match=f"mnist5k must have two labels, not only {label}"):
        check_dataset(small_config, alone)
