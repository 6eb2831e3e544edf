"""Every mistake on the command line of mnist_ga: one sentence, exit status 2, nothing written."""

import csv
import json

import pytest
from made_runs import make_run
from refusals import refused
from wrong_files import KINDS, make_wrong

from experiments import mnist_ga
from experiments.running import checkpoints
from experiments.running.cli import run_main

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
        "mnist_ga: error: --learning-rate must be lower than 1e+30, by which everybody died in "
        f"generation 1 of phase {phase}; their state is saved in {tmp_path}/run/checkpoints\n"
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


LARGE = [
    ("--population-size 1000000000", "--population-size"),
    ("--finetune-epochs 1000000000", "--finetune-epochs"),
    ("--generations 1000000000", "--generations"),
    ("--whole-generations 1000000000", "--generations"),
    ("--generations 1000 --finetune-epochs 100000", "--generations"),
    ("--layers 784 1000000 1000000", "--layers"),
    ("--method sgd --layers 784 1000000 1000000", "--layers"),
    ("--layers 784 1000001", "--layers"),
    ("--layers 784" + " 9" * 100, "--layers"),
    ("--layers 784" + " 9" * 2_000, "--layers"),
    ("--method pca --layers 784 785", "--layers"),
    ("--devices 1000000000", "--devices"),
    ("--seeds" + " 1" * 2_000, "--seeds"),
    ("--learning-rate 1e999", "--learning-rate"),
    ("compare --rows pca --layers 784 800", "--layers"),
    ("--svm-c 1e999", "--svm-c"),
]
FILES = [
    ["--config"],
    ["--out"],
    ["--dataset", "mnist", "--data-dir"],
    ["predict", "digit.png", "--run"],
    ["predict", "--run", "FOUND"],
    ["compare", "--config"],
]
WORDS = [
    ["--out", ""],
    ["--out="],
    ["--config", ""],
    ["--data-dir", ""],
    ["--dataset", ""],
    ["--method", "GA"],
    ["--method", "gа"],
    ["--seed", "½"],
    ["--seed", "1e3"],
    ["--seed", "0x1"],
    ["--layers", "784,500"],
    ["--layers", "784", ""],
    ["--layers", "(784,", "50)"],
    ["--learning-rate", "0,05"],
    ["--learning-rate", "∞"],
    ["--learning-rate", "--seed"],
    ["--", "--seed", "1"],
    ["-"],
    ["—seed", "1"],
    ["--séed", "1"],
    ["--seed\n", "1"],
    ["--se\x1b[31med", "1"],
    ["--biases", "False"],
    ["--no-seed"],
    ["--no-biases=yes"],
    [""],
    ["predict", "--run", "", "digit.png"],
    ["predict", "--run", ".", ""],
    ["predict", "--run", ".", "--out", "", "digit.png"],
    ["predict", "--run", ".", "--json=1", "digit.png"],
    ["predict", "--run", ".", "--invert", "", "digit.png"],
    ["predict", "--run", "missing", "digit.png", "\udcff"],
    ["compare", "--rows", ""],
    ["compare", "extra"],
    ["🙂"],
]


@pytest.mark.parametrize("words", WORDS)
def test_odd_words(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refused(["mnist_ga", *words], tmp_path, monkeypatch, capsys)


COUNTS = [
    *("--population-size", "--generations", "--whole-generations", "--finetune-epochs"),
    *("--batch-size", "--validation", "--score-examples", "--chunk-size", "--devices"),
    *("--seed", "--seeds", "--layers", "--processes", "--process-id"),
]


@pytest.mark.parametrize("value", [10**10, 10**30, 10**300, "9" * 400, "9" * 5_000])
@pytest.mark.parametrize("flag", COUNTS)
def test_a_number_far_too_large(flag, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = refused(["mnist_ga", flag, value], tmp_path, monkeypatch, capsys, most=20_000_000)
    assert flag in line


@pytest.mark.parametrize("arguments, flag", [(line.split(), flag) for line, flag in LARGE])
def test_what_no_machine_can_hold(arguments, flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert flag in refused(["mnist_ga", *arguments], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", FILES, ids=" ".join)
def test_files_of_a_wrong_kind(flags, kind, tmp_path, monkeypatch, capsys):
    path = make_wrong(kind, tmp_path)
    monkeypatch.chdir(tmp_path)
    if flags[-1] == "--out" and kind in ("folder", "missing"):  # where a run may go
        (path / "more").mkdir(parents=True)
    found = make_run(tmp_path) if "FOUND" in flags else None
    arguments = [found if word == "FOUND" else word for word in flags]
    refused(["mnist_ga", *arguments, path], tmp_path, monkeypatch, capsys, most=20_000_000)


@pytest.mark.parametrize("command", [[], ["compare"]])
@pytest.mark.parametrize("name", ["seeds", "rows", "budgets", "layers", "generations"])
def test_empty_lists_in_a_config(name, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({name: []}))
    arguments = ["mnist_ga", *command, "--config", "config.json"]
    assert name in refused(arguments, tmp_path, monkeypatch, capsys)
