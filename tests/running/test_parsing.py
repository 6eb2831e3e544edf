"""Flags and config files: which value counts, saved configs, and one sentence for a mistake."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from experiments.running import cli, parsing
from experiments.running.run_directory import save_config

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Config:
    """Settings of a run."""

    preset: Literal["gajax", "paper"] = "gajax"
    """Starting values."""
    config: Path | None = None
    dataset: Literal["mnist5k", "mnist"] = "mnist5k"
    layers: tuple[int, ...] = (784, 500)
    """Widths of the layers."""
    biases: bool = False
    mutation_rate: float = 0.01
    seed: int = 0
    svm_c: float | None = None
    out: Path | None = None
    parts: tuple[Literal["crossover", "mutation"], ...] = ()
    pair: tuple[int, int] = (1, 2)  # a kind that only tyro checks


PRESETS = {"gajax": Config(), "paper": Config(preset="paper", mutation_rate=0.5, layers=(784, 9))}


def check(config: Config) -> None:
    rate = config.mutation_rate
    cli.require(0 <= rate <= 1, "--mutation-rate", rate, "a number between 0 and 1")


def parse(*arguments: str) -> Config:
    return parsing.parse(
        Config, list(arguments), presets=PRESETS, program="mnist_ga", description="Train."
    )


def main(arguments: list[str]) -> None:
    _, rest = cli.split_command(arguments, ("predict", "compare"))
    check(parse(*rest))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, main=main) -> int:
    monkeypatch.setattr(sys, "argv", ["mnist_ga", *arguments])
    return cli.run_main(main, "mnist_ga")


def test_default_and_flags():
    assert parse() == Config()
    config = parse(
        *("--layers", "784", "5", "--biases", "--mutation_rate", "1e-3", "--svm-c", "None"),
        *("--out=-runs", "--seed", "-3", "--parts", "crossover", "mutation", "--layers=784", "6"),
    )
    assert config == Config(
        layers=(784, 6),
        biases=True,
        mutation_rate=1e-3,
        seed=-3,
        out=Path("-runs"),
        parts=("crossover", "mutation"),
    )


def test_precedence(tmp_path: Path):
    path = tmp_path / "config.json"
    assert parse("--preset", "paper") == PRESETS["paper"]
    path.write_text('{"layers": [784, 7], "biases": true}')
    config = parse("--config", str(path), "--preset", "paper", "--no-biases")
    assert config == replace(PRESETS["paper"], layers=(784, 7), config=path)
    path.write_text('{"preset": "paper", "seed": 4}')
    assert parse("--config", str(path)) == replace(PRESETS["paper"], seed=4, config=path)
    assert parse("--config", str(path), "--preset", "gajax").mutation_rate == 0.01


@pytest.mark.parametrize(
    "config", [Config(), Config(svm_c=0.1, out=Path("runs/x"), biases=True, mutation_rate=1 / 3)]
)
def test_saved_config_comes_back_equal(config: Config, tmp_path: Path):
    path = tmp_path / "config.json"
    save_config(config, path)
    assert parsing.load_config(Config, path, PRESETS["paper"]) == config
    assert parse("--config", str(path)) == replace(config, config=path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--mutation-rate abc", "--mutation-rate must be a number, not 'abc'"),
        ("--mutation-rate 2", "--mutation-rate must be a number between 0 and 1, not 2.0"),
        ("--mutation-rate", "--mutation-rate must be a number, not left without a value"),
        ("--mutation-rate --biases", "--mutation-rate must be a number, not left without a value"),
        ("--mutation-rate 1 2", "--mutation-rate must be a number, not '1 2'"),
        ("--mutation-rate nan", "--mutation-rate must be a number, not 'nan'"),
        ("--mutation-rate -inf", "--mutation-rate must be a number, not '-inf'"),
        ("--mutation-rat 1", "--mutation-rat is not a flag; did you mean --mutation-rate?"),
        ("-layers 1", "-layers is not a flag; did you mean --layers?"),
        ("--xyzxyz", "--xyzxyz is not a flag; see --help"),
        ("--no-layers", "--no-layers is not a flag; did you mean --layers?"),
        ("--seed 1.5", "--seed must be a whole number, not '1.5'"),
        ("--seed=", "--seed must be a whole number, not ''"),
        ("--dataset mnst", "--dataset must be one of mnist5k, mnist, not 'mnst'"),
        ("--preset mine", "--preset must be one of gajax, paper, not 'mine'"),
        ("--layers", "--layers must be one or more whole numbers, not left without a value"),
        ("--layers 784 x", "--layers must be one or more whole numbers, not '784 x'"),
        ("--parts sleep", "--parts must be one or more of crossover, mutation, not 'sleep'"),
        ("--svm-c high", "--svm-c must be a number or None, not 'high'"),
        ("--biases yes", "--biases must be given without a value, not 'yes'"),
        ("--no-biases=1", "--no-biases must be given without a value, not '1'"),
        ("train --biases", "the first argument must be predict or compare or a flag, not 'train'"),
        ("predict model", "'model' must follow a flag such as --biases"),
        ("--pair 1 2 3", "3"),
        ("--pair 1", "--pair"),
    ],
)
def test_mistake_is_one_sentence(line: str, expected: str, monkeypatch, capsys):
    assert run(monkeypatch, *line.split(" ")) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("mnist_ga: error: ") and output.err.count("\n") == 1
    if line.startswith("--pair"):  # in tyro's words
        assert expected in output.err
        assert output.err.isascii() and "---" not in output.err
    else:
        assert output.err == f"mnist_ga: error: {expected}\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, " must be a readable file (No such file or directory)"),
        ("not json", " must be a saved config: a JSON object of at most a megabyte"),
        ("[1]", " must be a saved config: a JSON object of at most a megabyte"),
        ("[" * 100_000, " must be a saved config: a JSON object of at most a megabyte"),
        ("{}" + " " * 1_000_000, " must be a saved config: a JSON object of at most a megabyte"),
        ('{"sed": 1}', ": 'sed' is not a setting; did you mean seed?"),
        ('{"seed": 1.5}', ": seed must be a whole number, not 1.5"),
        ('{"seed": true}', ": seed must be a whole number, not True"),
        ('{"mutation_rate": "0.1"}', ": mutation_rate must be a number, not '0.1'"),
        ('{"mutation_rate": NaN}', " must be a saved config: a JSON object of at most a megabyte"),
        (
            '{"mutation_rate": 1' + "0" * 400 + "}",
            ": mutation_rate must be a number, not 1" + "0" * 17 + "..." + "0" * 19,
        ),
        ('{"layers": 784}', ": layers must be one or more whole numbers, not 784"),
        ('{"dataset": "mnst"}', ": dataset must be one of mnist5k, mnist, not 'mnst'"),
    ],
)
def test_bad_config_file_is_one_sentence(content, expected: str, monkeypatch, capsys, tmp_path):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    assert run(monkeypatch, "--config", str(path)) == 2
    assert capsys.readouterr().err == f"mnist_ga: error: --config {path}{expected}\n"


def test_help_shows_the_values_of_the_preset(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with pytest.raises(SystemExit) as stopped:
        parse("--preset", "paper", "--help")
    assert stopped.value.code == 0
    output = capsys.readouterr()
    assert output.err == ""
    for text in ("usage: mnist_ga", "Widths of the layers.", "0.5", "--biases", "784 9"):
        assert text in output.out
