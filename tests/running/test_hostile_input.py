"""Odd words, numbers far too large and files of a wrong kind: one sentence each, and no traces."""

import json
import time

import pytest
from made_runs import make_run
from refusals import refused
from wrong_files import KINDS, make_wrong

from experiments.running import comparison, runs

COMMON_WORDS = [
    ["--out", ""],
    ["--out="],
    ["--config", ""],
    ["--data-dir", ""],
    ["--dataset", ""],
    ["--seed", "½"],
    ["--seed", "1e3"],
    ["--seed", "0x1"],
    ["--", "--seed", "1"],
    ["-"],
    ["—seed", "1"],
    ["--séed", "1"],
    ["--seed\n", "1"],
    ["--se\x1b[31med", "1"],
    ["--no-seed"],
    [""],
    ["compare", "extra"],
    ["🙂"],
]
"""That no program takes."""

WORDS = {
    "gemonn": [
        *COMMON_WORDS,
        ["--model", "autoencoder "],
        ["--model", "АUTOENCODER"],
        ["--seed", "1 2"],
        ["--hidden", "500,250"],
        ["--hidden", "[500]"],
        ["--budget", "1,5e6"],
        ["--budget", "∞"],
        ["--learning-rate", "--learning-rate"],
        ["--quiet", "False"],
        ["--no-quiet=yes"],
        ["export", "--run", "", "--best", "--to", "x.safetensors"],
        ["export", "--run", ".", "--best", "--to", ""],
        ["export", "--run", ".", "--density", "", "--to", "x.safetensors"],
        ["export", "--run", ".", "--density", "nan", "--to", "x.safetensors"],
        ["export", "--run", ".", "--best", "--to", "x.safetensors", "\udcff"],
        ["compare", "--methods", ""],
    ],
    "mnist_ga": [
        *COMMON_WORDS,
        ["--method", "GA"],
        ["--method", "gа"],
        ["--layers", "784,500"],
        ["--layers", "784", ""],
        ["--layers", "(784,", "50)"],
        ["--learning-rate", "0,05"],
        ["--learning-rate", "∞"],
        ["--learning-rate", "--seed"],
        ["--biases", "False"],
        ["--no-biases=yes"],
        ["predict", "--run", "", "digit.png"],
        ["predict", "--run", ".", ""],
        ["predict", "--run", ".", "--out", "", "digit.png"],
        ["predict", "--run", ".", "--json=1", "digit.png"],
        ["predict", "--run", ".", "--invert", "", "digit.png"],
        ["predict", "--run", "missing", "digit.png", "\udcff"],
        ["compare", "--rows", ""],
    ],
}
LARGE = {
    "gemonn": [
        ("--population-size 1000000000", "--population-size"),
        ("--method nsga2 --population-size 20000000", "--population-size"),
        ("--hidden 1000000 --population-size 1000", "--hidden"),
        ("--hidden 1000000 --method pruning", "--hidden"),
        ("--hidden 1000000 --method descent", "--hidden"),
        ("--hidden 1000001", "--hidden"),
        ("--model mlp --hidden 1000000 1000000", "--hidden"),
        ("--model deep-autoencoder --hidden" + " 9" * 101, "--hidden"),
        ("--model deep-autoencoder --hidden" + " 9" * 2_000, "--hidden"),
        ("--model lstm --hidden 1000000", "--hidden"),
        ("--final-refine-steps 1000000000", "--final-refine-steps"),
        ("--devices 1000000000", "--devices"),
        ("--method pruning --budget 1e300", "--budget"),
        ("--method pruning --budget 1000", "--budget"),
        ("--method descent --budget 1", "--budget"),
        ("--method regrowth --budget None --generations 1 --population-size 2", "--budget"),
        ("compare --budget 1000", "--budget"),
        ("--seeds" + " 1" * 2_000, "--seeds"),
        ("--learning-rate 1e999", "--learning-rate"),
        ("--budget -1e-999", "--budget"),
    ],
    "mnist_ga": [
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
    ],
}
FILES = {
    "gemonn": [
        ["--config"],
        ["--out"],
        ["--dataset", "mnist", "--data-dir"],
        ["export", "--best", "--to", "x.safetensors", "--run"],
        ["compare", "--config"],
    ],
    "mnist_ga": [
        ["--config"],
        ["--out"],
        ["--dataset", "mnist", "--data-dir"],
        ["predict", "digit.png", "--run"],
        ["predict", "--run", "FINISHED"],
        ["compare", "--config"],
    ],
}
COUNTS = {
    "gemonn": [
        *("--population-size", "--generations", "--batch-size", "--validation", "--refine-every"),
        *(
            "--refine-steps",
            "--final-refine-steps",
            "--chunk-size",
            "--devices",
            "--seed",
            "--hidden",
        ),
        *("--seeds", "--processes", "--process-id"),
    ],
    "mnist_ga": [
        *("--population-size", "--generations", "--whole-generations", "--finetune-epochs"),
        *("--batch-size", "--validation", "--score-examples", "--chunk-size", "--devices"),
        *("--seed", "--seeds", "--layers", "--processes", "--process-id"),
    ],
}
ODD_COUNTS = ["-1", "1.5", "many", ""]
LISTS = {
    "gemonn": ["seeds", "methods", "hidden"],
    "mnist_ga": ["seeds", "rows", "budgets", "layers", "generations"],
}


def pairs(table):
    """Each program with each row of its table."""
    return [(program, row) for program, rows in table.items() for row in rows]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("program, words", pairs(WORDS))
def test_odd_words(program, words, tmp_path, monkeypatch, capsys):
    refused([program, *words], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("value", [10**10, 10**30, 10**300, "9" * 400, "9" * 5_000])
@pytest.mark.parametrize("program, flag", pairs(COUNTS))
def test_a_number_far_too_large(program, flag, value, tmp_path, monkeypatch, capsys):
    line = refused([program, flag, value], tmp_path, monkeypatch, capsys, most=20_000_000)
    assert flag in line


@pytest.mark.parametrize("program, case", pairs(LARGE))
def test_what_no_machine_can_hold(program, case, tmp_path, monkeypatch, capsys):
    arguments, flag = case
    assert flag in refused([program, *arguments.split()], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program, flags", pairs(FILES))
def test_files_of_a_wrong_kind(program, flags, kind, tmp_path, monkeypatch, capsys):
    path = make_wrong(kind, tmp_path)
    if flags[-1] == "--out" and kind in ("folder", "missing"):  # where a run may go
        (path / "more").mkdir(parents=True)
    finished = make_run(tmp_path) if "FINISHED" in flags else None
    arguments = [finished if word == "FINISHED" else word for word in flags]
    refused([program, *arguments, path], tmp_path, monkeypatch, capsys, most=20_000_000)


def wrong_lines():
    """Command lines that are wrong, as lists of words from the program on."""
    large = [(program, [flag, str(10**30)]) for program, flag in pairs(COUNTS)]
    large += [(program, [flag, word]) for program, flag in pairs(COUNTS) for word in ODD_COUNTS]
    large += [(program, words.split()) for program, (words, _) in pairs(LARGE)]
    lines = [[program, *words] for program, words in [*pairs(WORDS), *large]]
    # A run would be in this folder.
    return [
        line if any(word.startswith("--out") for word in line) else [*line, "--out", "out"]
        for line in lines
    ]


@pytest.mark.heavy
def test_200_wrong_command_lines(tmp_path, monkeypatch, capsys, record_property):
    monkeypatch.setattr(runs, "run_together", pytest.fail)
    monkeypatch.setattr(comparison, "run_all", pytest.fail)
    lines = wrong_lines()
    chosen = [lines[number * len(lines) // 200] for number in range(200)]
    assert len({tuple(line) for line in chosen}) == 200
    refusals, slowest = 0, 0.0
    try:
        for line in chosen:
            started = time.process_time()
            refused(line, tmp_path, monkeypatch, capsys)
            refusals, slowest = refusals + 1, max(slowest, time.process_time() - started)
    finally:
        label = "wrong command lines refused, with nothing written"
        record_property("count", (label, refusals, len(chosen), slowest))


@pytest.mark.parametrize("command", [[], ["compare"]])
@pytest.mark.parametrize("program, name", pairs(LISTS))
def test_empty_lists_in_a_config(program, name, command, tmp_path, monkeypatch, capsys):
    (tmp_path / "config.json").write_text(json.dumps({name: []}))
    arguments = [program, *command, "--config", "config.json"]
    assert name in refused(arguments, tmp_path, monkeypatch, capsys)
