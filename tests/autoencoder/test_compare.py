"""One table of several methods and seeds."""

import csv
import json
import math
import shutil
from dataclasses import asdict, replace
from itertools import product
from statistics import mean

import pytest
from PIL import Image
from small_runs import keep_programs, load_few

from experiments import mnist_ga
from experiments.autoencoder import compare, figures, methods, records, report, training
from experiments.datasets.catalog import load
from experiments.reporting.tables import write_tables
from experiments.running.cli import InputError
from experiments.running.comparison import is_done
from experiments.running.run_directory import save_config

ROWS = ["--rows", "ga-tanh", "layerwise-relu", "pca", "--seeds", "2"]
NAMES = ["ga-tanh", "layerwise-relu-steps", "layerwise-relu-cost", "pca"]


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        load_few(patch)
        kept = keep_programs(patch)
        patch.setattr(report, "_draw", lambda *_: None)  # runs have tests of their own
        yield kept


@pytest.fixture(scope="module")
def comparison(small, small_config, tmp_path_factory):
    """A comparison made once: its folder and the arguments that made it."""
    directory = tmp_path_factory.mktemp("comparison")
    config = directory.parent / "compare.json"
    brief = {
        "layers": (784, 16, 8),
        "generations": (1, 1),
        "whole_generations": 1,
        "batch_size": 50,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "seed": 0,
        "svm_c": 5.0,
        "svm_gamma": 1.0,
    }
    save_config(mnist_ga.Config(**asdict(small_config) | brief), config)
    arguments = ["compare", "--config", str(config), "--out", str(directory), *ROWS]
    small.clear()
    mnist_ga.main(arguments)
    assert len(small) == 7, "programs are forgotten after each run"
    return directory, arguments


def read(directory):
    with (directory / "compare.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_comparison_has_one_seed_unless_told(monkeypatch, tmp_path):
    runs = []
    monkeypatch.setattr(training, "run", lambda config, *_, **titled: runs.append(config.seed))
    monkeypatch.setattr(records, "table", lambda directory: None)
    arguments = ["--rows", "ga-tanh", "pca", "--out", str(tmp_path)]
    for more in ([], ["--seed", "5", "--seeds", "2"], ["--seeds", "4", "2"]):
        compare.main([*arguments, *more])
    assert runs == [0, 0, 5, 6, 5, 4, 2, 4]


def test_a_comparison_has_the_published_rows_and_pca_unless_told(monkeypatch, tmp_path):
    runs = []
    monkeypatch.setattr(
        training,
        "run",
        lambda config, *_, **titled: runs.append((config.method, config.activation, config.equal)),
    )
    monkeypatch.setattr(records, "table", lambda directory: None)
    compare.main(["--out", str(tmp_path)])
    rivals = product(("layerwise", "sgd"), ("tanh", "relu"), ("steps", "cost"))
    evolved = [("ga", "tanh", "steps"), ("ga", "relu", "steps")]
    assert runs == [*evolved, *rivals, ("pca", "tanh", "steps")]
    runs.clear()
    compare.main(["--rows", "ga-tanh", "--ablate", "--out", str(tmp_path)])
    methods_run = [("ga", "tanh"), ("ga-no-means", "tanh"), ("ga-strangers", "tanh")]
    assert runs == [(*names, "steps") for names in methods_run]


def test_rows_are_all_methods_and_seeds(comparison):
    directory, _ = comparison
    found = [(row["method"], row["seed"]) for row in read(directory)]
    assert found == [*product(NAMES[:2], "01"), ("pca", "0"), *product(NAMES[2:3], "01")]
    assert len({row["test_rmse"] for row in read(directory)}) == 7


def test_published_figures_stand_beside_ours(comparison):
    directory, _ = comparison
    found = {row["method"]: row["published_accuracy"] for row in read(directory)}
    assert found == dict(zip(NAMES, ("0.9831", "0.9401", "0.9401", ""), strict=True))
    assert "| 98.31% |" in (directory / "compare.md").read_text()


def test_budgets_are_equal_up_to_a_generation(comparison):
    directory, _ = comparison
    rows = {row["method"]: row for row in read(directory)}
    batch = mnist_ga.Config().batch_size
    for name, measure, unit in (("steps", "sequential_steps", 1), ("cost", "cost", batch)):
        ours, theirs = (float(rows[row][measure]) for row in ("ga-tanh", f"layerwise-relu-{name}"))
        with (directory / f"layerwise-relu-{name}-0" / "metrics.csv").open() as file:
            generation = float(next(csv.DictReader(file))[measure])
        assert 0 <= theirs - ours < generation + unit


@pytest.mark.parametrize("method", ["layerwise", "pretrained", "sgd"])
@pytest.mark.parametrize("change", [{}, {"score_examples": 500}, {"population_size": 4}])
def test_the_cost_of_a_rival_is_that_of_evolution_up_to_a_generation(method, change):
    config = mnist_ga.check(mnist_ga.Config(method=method, equal="cost", **change))
    phases = methods.schedule(replace(config, method="ga"), 5_000)
    learned = sum(phase.generations * phase.steps for phase in phases)
    learned *= config.batch_size * config.population_size // 2
    scored = config.population_size * (config.score_examples or 5_000)
    cost = learned + (sum(phase.generations for phase in phases) + len(phases)) * scored / 3
    phases = methods.schedule(config, 5_000)
    spent = config.batch_size * sum(phase.generations * phase.steps for phase in phases)
    assert 0 <= spent - cost < config.batch_size * (1 + sum(phase.steps for phase in phases))
    assert training.capacity(config, load("mnist5k")).runs > 1


def test_markdown_has_a_table_for_each_budget(comparison):
    directory, _ = comparison
    losses = [float(row["test_rmse"]) for row in read(directory) if row["method"] == "ga-tanh"]
    text = (directory / "compare.md").read_text()
    steps, cost = text.split("## At equal cost\n")
    assert steps.startswith("## At equal sequential steps\n\n| method | seeds | SVM accuracy |")
    for section, rival in ((steps, "layerwise-relu-steps"), (cost, "layerwise-relu-cost")):
        assert f"| {mean(losses):.4f} ± " in section
        assert section.count(f"| {rival} | 2 | ") == 2 and "| pca | 1 |" in section
        assert f"| {rival} |" not in text.replace(section, "")


def test_figure_is_drawn(comparison):
    directory, _ = comparison
    with Image.open(directory / "compare.png") as image:
        assert image.size == (1600, 424)


def test_runs_that_are_there_are_kept(comparison):
    directory, arguments = comparison
    models = sorted(directory.glob("*/model.safetensors"))
    times = [path.stat().st_mtime_ns for path in models]
    mnist_ga.main(arguments)
    assert [path.stat().st_mtime_ns for path in models] == times


def test_table_has_all_runs_that_are_there(comparison):
    directory, arguments = comparison
    before = (directory / "compare.csv").read_text()
    mnist_ga.main([*arguments[: -len(ROWS)], "--rows", "ga-tanh", "--seeds", "1"])
    assert (directory / "compare.csv").read_text() == before


def test_runs_of_other_settings_are_not_mixed_in(comparison):
    _, arguments = comparison
    with pytest.raises(InputError, match="--out"):
        mnist_ga.main([*arguments, "--batch-size", "100"])


@pytest.mark.parametrize(
    "change",
    [{"activation": "sigmoid"}, {"activation": ["tanh"]}, {"equal": {}}, {"method": "sgd "}],
)
def test_runs_that_are_none_are_refused(change, comparison, tmp_path):
    directory, _ = comparison
    summary = json.loads((directory / "ga-tanh-0" / "summary.json").read_text())
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "summary.json").write_text(json.dumps({**summary, **change}))
    with pytest.raises(InputError, match="--out must hold only intact runs"):
        records.table(tmp_path)


def test_a_figure_of_what_is_not_finite_or_not_there(tmp_path):
    rows = [{"test_accuracy": math.nan, "test_rmse": math.inf}, {"test_accuracy": 0.9}]
    figures.features(tmp_path / "compare.png", {"ga-tanh": rows, "pca": rows})
    figures.features(tmp_path / "none.png", {"ga-relu": [{}]})
    assert (tmp_path / "none.png").stat().st_size > 1_000


def test_a_run_from_before_a_setting_has_its_default(tmp_path):
    config = mnist_ga.Config()
    save_config(config, tmp_path / "config.json")
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["precision"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    (tmp_path / "summary.json").write_text("{}")
    assert is_done(config, tmp_path)
    with pytest.raises(InputError, match="--out"):
        is_done(replace(config, precision="bfloat16"), tmp_path)


@pytest.mark.parametrize("values, cell", [([1.0, math.inf], "inf"), ([math.nan, 2.0], "nan")])
def test_what_is_not_finite_has_no_deviation(values, cell, tmp_path):
    summaries = [{"method": "a", "seed": seed, "x": x} for seed, x in enumerate(values)]
    write_tables({"": {"a": summaries}}, {"x": ("x", "{:.2f}")}, tmp_path)
    assert f"| a | 2 | {cell} |" in (tmp_path / "compare.md").read_text()


@pytest.fixture(scope="module")
def tuned(comparison, tmp_path_factory):
    directory = tmp_path_factory.mktemp("compare") / "tuned"
    shutil.copytree(comparison[0], directory)
    arguments = [name if name != str(comparison[0]) else str(directory) for name in comparison[1]]
    mnist_ga.main([*arguments, "--budgets", "steps", "--tune", "--rates", "1e-6", "0.01"])
    return directory


def test_rates_are_chosen_on_held_out_images(tuned):
    rates = {"1e-06": 1e-6, "0.01": 0.01}
    name = "layerwise-relu-steps-tuned"
    tried = {rate: tuned / "tuning" / f"{name}-{rate}" for rate in rates}
    errors, costs = {}, []
    for rate, run in tried.items():
        config, summary = (
            json.loads((run / f"{file}.json").read_text()) for file in ("config", "summary")
        )
        assert (config["learning_rate"], config["validation"]) == (rates[rate], 50)
        errors[rate] = summary["validation_rmse"]
        costs.append(summary["cost"])
    assert errors["0.01"] < errors["1e-06"]
    for seed in (0, 1):
        config = json.loads((tuned / f"{name}-{seed}" / "config.json").read_text())
        assert (config["learning_rate"], config["validation"]) == (0.01, 0)
    cells = {row["method"]: row["tuning_cost"] for row in read(tuned)}
    assert float(cells[name]) == sum(costs) and cells["layerwise-relu-steps"] == ""
    assert "cost of tuning" in (tuned / "compare.md").read_text()


def test_without_tuning_no_column_tells_its_cost(comparison):
    assert "cost of tuning" not in (comparison[0] / "compare.md").read_text()


@pytest.mark.parametrize("flags", [["--rates"], ["--rates", "0.1", "-1"]])
def test_rates_that_are_none_are_refused(flags, tmp_path):
    with pytest.raises(InputError, match="--rates"):
        compare.main([*flags, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
