"""All methods at the same cost in one table and two figures."""

import csv
import json

import pytest
from small_runs import load_few

from experiments.front import baselines, report
from experiments.front import compare as front_compare
from experiments.front.config import Config
from experiments.running.cli import InputError

FLAGS = "--hidden 16 --population-size 6 --batch-size 50 --refine-steps 2 --quiet".split()
FLAGS += ["--budget", "6000"]
METHODS = ["--methods", "gemonn", "nsga2-gradient-0", "descent", "pruning"]


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        load_few(patch)
        patch.setattr(report, "_draw", lambda *_: None)  # runs have tests of their own
        yield


@pytest.fixture(scope="module")
def compared(small, tmp_path_factory):
    directory = tmp_path_factory.mktemp("compare")
    front_compare.main([*FLAGS, *METHODS, "--out", str(directory)])
    return directory


def rows_of(directory):
    with (directory / "compare.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_method_has_a_row_and_spends_the_same(compared):
    names = [row["method"] for row in rows_of(compared)]
    assert names == [
        *("GEMONN", "NSGA-II(+gradient_0)"),
        *("SGD 0.1", "SGD 0.01", "SGD 0.001", "Adam 0.1", "Adam 0.01", "Adam 0.001"),
        "pruning snapshots",
    ]
    for row in rows_of(compared):
        assert 4_000 < float(row["cost"]) <= 6_000, row["method"]
        assert 0 <= float(row["log_hypervolume"]) < 1
    assert (compared / "compare.md").read_text().count("\n") == 2 + len(names)
    for name in ("fronts", "decline"):
        assert (compared / f"{name}.png").stat().st_size > 10_000


def test_each_descent_keeps_its_own_loss(compared):
    summary = json.loads((compared / "descent-0" / "summary.json").read_text())
    assert sorted(summary["names"]) == sorted(baselines.NAMES)
    with (compared / "descent-0" / "population.csv").open(newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    expected = dict(zip(summary["names"], losses, strict=True))
    for row in rows_of(compared):
        if row["method"] in expected:
            assert float(row["best_loss"]) == expected[row["method"]]


def test_runs_that_are_there_are_not_repeated(compared):
    before = {path: path.stat().st_mtime_ns for path in compared.glob("*/summary.json")}
    front_compare.main([*FLAGS, "--methods", "gemonn", "pruning", "--out", str(compared)])
    assert before == {path: path.stat().st_mtime_ns for path in compared.glob("*/summary.json")}
    assert len(rows_of(compared)) == 9


def test_runs_of_other_settings_are_refused(compared):
    with pytest.raises(InputError, match="--out must not hold runs with other settings"):
        front_compare.main([*FLAGS, "--learning-rate", "0.5", "--out", str(compared)])


def test_rivals_get_what_gemonn_has_spent_where_there_is_no_budget(tmp_path):
    (tmp_path / "gemonn-3").mkdir()
    (tmp_path / "gemonn-3" / "summary.json").write_text('{"cost": 1234.5}')
    common = Config(budget=None, generations=5)
    rival = front_compare._of_method(common, "nsga2", 3, tmp_path)
    assert rival.budget == 1234.5 and rival.generations > 1_000 and rival.method == "nsga2"
    own = front_compare._of_method(common, "gemonn", 3, tmp_path)
    assert own.budget is None and own.generations == 5
