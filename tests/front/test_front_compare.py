"""All methods at the same cost in one table and two figures."""

import csv
import json
import math
import shutil
from dataclasses import replace

import pytest
from small_runs import few, keep_programs, load_few

from experiments.datasets.catalog import load
from experiments.front import compare as front_compare
from experiments.front import methods, report, training
from experiments.front.checks import check
from experiments.front.config import Config
from experiments.front.rows import OF_DESCENT, Row
from experiments.running import dry_run
from experiments.running.cli import InputError
from experiments.running.run_directory import save_config

FLAGS = "--hidden 16 --population-size 6 --batch-size 50 --refine-steps 2 --quiet".split()
FLAGS += ["--budget", "20000"]
HEAVY = pytest.mark.heavy
METHODS = ["--budgets", "cost", "--methods", "gemonn", "descent", "pruning"]


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        load_few(patch)
        kept = keep_programs(patch)
        patch.setattr(report, "_draw", lambda *_: None)  # runs have tests of their own
        yield kept


@pytest.fixture(scope="module")
def compared(small, tmp_path_factory):
    directory = tmp_path_factory.mktemp("compare")
    small.clear()
    front_compare.main([*FLAGS, *METHODS, "--out", str(directory)])
    assert len(small) == 3, "programs are forgotten after each run"
    return directory


def rows_of(directory):
    with (directory / "compare.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_method_has_a_row_and_spends_the_same(compared):
    names = [row["method"] for row in rows_of(compared)]
    assert names == [
        "GEMONN",
        *("SGD 0.1", "SGD 0.01", "SGD 0.001", "Adam 0.1", "Adam 0.01", "Adam 0.001"),
        "pruning",
    ]
    spent = float(rows_of(compared)[0]["cost"])
    assert 16_000 < spent <= 20_000
    for row in rows_of(compared):
        assert 0.98 * spent <= float(row["cost"]) <= spent, row["method"]
        assert 0 <= float(row["log_hypervolume"]) < 1
    assert (compared / "compare.md").read_text().count("\n") == 2 + len(names)
    for name in ("fronts", "decline"):
        assert (compared / f"{name}.png").stat().st_size > 10_000


def test_each_descent_keeps_its_own_loss(compared):
    summary = json.loads((compared / "descent-0" / "summary.json").read_text())
    assert sorted(summary["names"]) == sorted(OF_DESCENT)
    with (compared / "descent-0" / "population.csv").open(newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    expected = dict(zip(summary["names"], losses, strict=True))
    for row in rows_of(compared):
        if row["method"] in expected:
            assert float(row["best_loss"]) == expected[row["method"]]


def test_runs_that_are_there_are_not_repeated(compared):
    before = {path: path.stat().st_mtime_ns for path in compared.glob("*/summary.json")}
    flags = [*FLAGS, "--budgets", "cost", "--methods", "gemonn", "pruning"]
    front_compare.main([*flags, "--out", str(compared)])
    assert before == {path: path.stat().st_mtime_ns for path in compared.glob("*/summary.json")}
    assert len(rows_of(compared)) == 8


def test_runs_of_other_settings_are_refused(compared):
    with pytest.raises(InputError, match="--out must not hold runs with other settings"):
        front_compare.main([*FLAGS, *METHODS, "--learning-rate", "0.5", "--out", str(compared)])


@pytest.mark.parametrize("budget", [None, 9e5])
def test_rivals_get_what_gemonn_has_spent(budget, tmp_path):
    common = check(Config(budget=budget, generations=5, discard_state=True))
    evolved = tmp_path / "gemonn-3"

    def config_of(method, **changes):
        changed = replace(common, **changes)
        return front_compare._config_of(changed, Row(method), 3, tmp_path, most=500)

    own = config_of("gemonn")
    assert own.budget == budget and own.generations == 5
    if budget:
        assert config_of("nsga2").budget == budget
    evolved.mkdir()
    save_config(own, evolved / "config.json")
    summary = {"method": "gemonn", "seed": 3, "cost": 123456.5, "sequential_steps": 60}
    (evolved / "summary.json").write_text(json.dumps(summary))
    rival = config_of("nsga2")
    assert rival.budget == 123456.5 and rival.generations > 1_000 and rival.method == "nsga2"
    with pytest.raises(InputError, match="--out must not hold runs with other settings"):
        config_of("nsga2", generations=6)
    (evolved / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="--out must hold only intact runs"):
        config_of("nsga2")


@pytest.mark.parametrize(
    ("flags", "lowest"),
    [
        # 16 x 128 images: 21 gradient steps; both judged on two batches, and their parents.
        (["--methods", "ladder"], 21 * 2_048 + 2 * 2 * 2_048 / 3),
        # 50 x 128 images: scored, then 20 gradient steps, and scored with their parents.
        (["--methods", "gemonn"], 6_400 + 21 * 6_400 + 6_400 / 3),
        (["--methods", "nsga2"], 6_400 / 3 + 2 * 6_400 / 3),
        (
            ["--population-size", "10", "--refine-steps", "0", "--methods", "gemonn"],
            1_280 + 1_280 + 1_280 / 3,
        ),
    ],
)
def test_a_budget_without_a_generation_is_refused_before_anything_runs(
    flags, lowest, tmp_path, monkeypatch
):
    lowest = math.ceil(lowest)
    expected = f"--budget must be {lowest:,} or more, the cost of .* with its first generation, not"
    out = tmp_path / "out"
    with pytest.raises(InputError, match=expected):
        front_compare.main([*flags, "--budget", str(lowest - 1), "--quiet", "--out", str(out)])
    assert not out.exists()
    reached = []
    monkeypatch.setattr(dry_run, "describe", lambda *_, **options: reached.append(options))
    front_compare.main([*flags, "--budget", str(lowest), "--dry-run"])
    assert reached


@pytest.mark.parametrize("method", ["gemonn", pytest.param("nsga2-gradient", marks=HEAVY)])
@pytest.mark.parametrize("final", [0, 5])
def test_no_evolution_exceeds_its_budget(method, final):
    """And none ends with room for another generation."""
    config = Config(
        method=method,
        hidden=(8,),
        population_size=4,
        batch_size=50,
        refine_steps=6,
        refine_every=3,
        budget=20_000,
        final_refine_steps=final,
        lowest_density=0.9,
    )
    dataset = few(load("mnist5k"))
    results = training.train(config, dataset=dataset)
    spent = results.summary["cost"]
    network, _ = training._networks(check(config), dataset)
    stages = methods.ALGORITHMS[method](check(config), network).stages(4, 500)
    following = methods.generation_cost(stages, results.rows[-1]["generation"] + 1)
    refined = method == "gemonn" and final
    assert spent <= config.budget < spent + following + refined * 4 * 1_000
    assert results.rows[-1]["generation"] > 3


@pytest.mark.heavy
def test_the_progress_says_which_run_it_is(small, tmp_path, capsys):
    flags = [flag for flag in FLAGS if flag != "--quiet"]
    front_compare.main(
        [*flags, "--methods", "pruning", "--seeds", "3", "5", "--out", str(tmp_path)]
    )
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("pruning, seed 3 (1 of 2): evolution") for line in lines)
    assert any(line.startswith("pruning, seed 5 (2 of 2): evolution") for line in lines)
    assert all(", seed " in line for line in lines)


@pytest.mark.parametrize("generations", [1, 3, 7, 10, 49])
def test_a_budget_that_is_a_number_of_generations_but_for_rounding_pays_for_them(generations):
    config = Config(method="ladder", hidden=(8,), population_size=2, batch_size=50, refine_steps=2)
    network, _ = training._networks(check(config), few(load("mnist5k")))
    stages = methods.ALGORITHMS["ladder"](check(config), network).stages(2, 500)
    one = methods.generation_cost(stages, 1)
    costs = [one] * generations
    for budget in (sum(costs), math.fsum(costs), generations * one * (1 - 1e-12)):
        limited = check(replace(config, budget=budget))
        plan = methods.ALGORITHMS["ladder"](limited, network).stages(2, 500)
        assert plan(generations) and not plan(generations + 1)
        expected, _ = methods.expected_costs(limited, network, 500)
        assert expected == pytest.approx(budget)
        methods.require_budget(limited, network, 500)


TUNED = "--methods gemonn pruning --tune --rates 0.001 0.1 --sparse-rates 0.02".split()


@pytest.fixture(scope="module")
def tuned(compared, tmp_path_factory):
    directory = tmp_path_factory.mktemp("compare") / "tuned"
    shutil.copytree(compared, directory)  # which has gemonn and pruning
    front_compare.main([*FLAGS, *TUNED, "--out", str(directory)])
    return directory


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def config_of(run):
    return json.loads((run / "config.json").read_text())


def test_larger_batches_make_the_steps_of_the_reference_at_its_cost(tuned):
    reference, large = (summary_of(tuned / f"{name}-0") for name in ("gemonn", "pruning-steps"))
    assert config_of(tuned / "pruning-steps-0")["batch_size"] == 6 * 50  # the whole population's
    assert large["sequential_steps"] == reference["sequential_steps"]
    assert large["cost"] == 300 * reference["sequential_steps"]
    assert summary_of(tuned / "pruning-0")["sequential_steps"] > 3 * large["sequential_steps"]


@pytest.mark.parametrize("row", ["pruning", "pruning-steps"])
def test_rates_are_chosen_on_held_out_images_of_the_first_seed(row, tuned):
    tried = [tuned / "tuning" / f"{row}-tuned-{dense}-0.02" for dense in ("0.001", "0.1")]
    configs, summaries = map(config_of, tried), [summary_of(run) for run in tried]
    assert [(c["validation"], c["seed"], c["learning_rate"]) for c in configs] == [
        (50, 0, 0.001),
        (50, 0, 0.1),
    ]
    scores = [summary["validation_log_hypervolume"] for summary in summaries]
    assert scores[0] != scores[1]
    chosen = config_of(tuned / f"{row}-tuned-0")
    assert chosen["learning_rate"] == (0.001, 0.1)[scores[1] > scores[0]]
    assert (chosen["sparse_learning_rate"], chosen["validation"]) == (0.02, 0)
    title = {"pruning": "pruning, tuned", "pruning-steps": "pruning, large batches, tuned"}[row]
    costs = [line["tuning_cost"] for line in rows_of(tuned) if line["method"] == title]
    assert costs == [str(sum(summary["cost"] for summary in summaries))]


def test_a_batch_is_no_larger_than_the_images_that_are_not_held_out(tmp_path):
    common = check(Config(population_size=20))
    config = front_compare._config_of(common, Row("regrowth", "steps"), 0, tmp_path, most=1_000)
    assert (config.batch_size, config.budget) == (1_000, common.budget)


@pytest.mark.parametrize("flags", ["--rates 0 0.1", "--sparse-rates -1", "--rates"])
def test_rates_that_are_none_are_refused(flags, tmp_path):
    name = flags.split()[0]
    with pytest.raises(InputError, match=f"{name}"):
        front_compare.main([*FLAGS, *flags.split(), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
