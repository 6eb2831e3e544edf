"""Runs of several seeds under one directory, each as if it had been run by itself."""

import csv
import json
from dataclasses import replace

import pytest
from made_runs import SUMMARY
from small_runs import EVOLUTION, TRAINING, content, few, small_steps  # noqa: F401

from experiments import gemonn, mnist_ga
from experiments.autoencoder import training
from experiments.datasets.catalog import load
from experiments.front import report as front_report
from experiments.front import training as front_training
from experiments.running import memory, runs, seed_axis, seeds
from experiments.running.run_directory import save_config

pytestmark = pytest.mark.usefixtures("small_steps")


def test_seeds_are_a_number_or_a_list():
    assert seeds.expand((3,), 0) == (0, 1, 2)
    assert seeds.expand((2,), 7) == (7, 8)
    assert seeds.expand((0, 4, 7), 9) == (0, 4, 7)


def test_seeds_that_do_not_fit_go_in_turn(monkeypatch, tmp_path):
    seen = []

    def run_together(training, configs, dataset, places, title, hosts):
        assert all(place.is_dir() for place in places)
        assert all(config.seeds is None for config in configs)
        seen.append(([config.seed for config in configs], [place.name for place in places], title))

    config = gemonn.Config(seed=2, seeds=(3,))
    monkeypatch.setattr(runs, "run_together", run_together)
    few_fit = front_training.TRAINING._replace(
        capacity=lambda *_: memory.Capacity(2, 0), table=pytest.fail, seed_table=seen.append
    )
    runs.run_seeds(few_fit, config, None, tmp_path)
    assert seen.pop() == tmp_path
    assert seen == [
        ([2, 3], ["seed-2", "seed-3"], "seeds 2 3 (shown: 2): "),
        ([4], ["seed-4"], "seed 4: "),
    ]


def test_checkpoints_of_seeds_that_train_together_stay_until_all_are_finished(
    tmp_path, monkeypatch
):
    """Also those of a run that ended between the results of two seeds."""
    config = gemonn.Config(seeds=(2,), out=tmp_path)
    together = front_training.TRAINING._replace(
        capacity=lambda *_: memory.Capacity(2, 0), seed_table=lambda _: None
    )
    resumed = []
    monkeypatch.setattr(runs, "run_together", lambda *given: resumed.append(given))
    kept = tmp_path / "seed-0" / "checkpoints"
    kept.mkdir(parents=True)
    for seed, directory in enumerate((tmp_path / "seed-0", tmp_path / "seed-1")):
        runs.run_seeds(together, config, None, tmp_path)
        assert kept.exists() and len(resumed) == seed + 1
        save_config(replace(config, seed=seed, seeds=None), directory / "config.json")
        (directory / "summary.json").write_text(json.dumps({**SUMMARY, "seed": seed}))
    runs.run_seeds(together, config, None, tmp_path)
    assert not kept.exists() and len(resumed) == 2


@pytest.mark.heavy
@pytest.mark.parametrize("kept", [[], ["--discard-state"]])
@pytest.mark.parametrize("every", ["1", "2m"])
def test_seeds_resume_after_an_end_between_the_results_of_two(kept, every, tmp_path, monkeypatch):
    """From a checkpoint, from the last state, or else anew."""
    arguments = [*EVOLUTION, "--seeds", "2", "--checkpoint-every", every, *kept]
    gemonn.main([*arguments, "--out", str(tmp_path / "whole")])
    save = front_training.TRAINING.save

    def fail(results, directory):
        if directory.name == "seed-1":
            raise OSError("No space left on device")
        save(results, directory)

    failing = front_training.TRAINING._replace(save=fail)
    with monkeypatch.context() as patched:
        patched.setattr(front_training, "TRAINING", failing)
        with pytest.raises(OSError, match="No space left on device; resume with: "):
            gemonn.main([*arguments, "--out", str(tmp_path / "run")])
    gemonn.main(["--resume", str(tmp_path / "run"), "--quiet"])
    for seed in ("seed-0", "seed-1"):
        assert content(tmp_path / "run" / seed) == content(tmp_path / "whole" / seed)


@pytest.mark.heavy  # evolutions are tested in the same way below, and seeds of the library too
@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(
    ("method", "optimizer"),
    [("ga", "adam"), ("pretrained", "muon")],
)
def test_trainings_side_by_side_are_those_of_single_seeds(method, optimizer, tmp_path):
    arguments = [*TRAINING, "--method", method, "--optimizer", optimizer, "--batch-size", "50"]
    arguments += ["--whole-generations", "0"]
    mnist_ga.main([*arguments, "--seeds", "1", "4", "--out", str(tmp_path / "both")])
    mnist_ga.main([*arguments, "--seed", "4", "--out", str(tmp_path / "single")])
    assert content(tmp_path / "both" / "seed-4") == content(tmp_path / "single")
    assert content(tmp_path / "both" / "seed-1") != content(tmp_path / "single")


@pytest.mark.usefixtures("user_flags")
@pytest.mark.heavy
def test_evolutions_side_by_side_are_those_of_single_seeds(tmp_path):
    gemonn.main([*EVOLUTION, "--seeds", "1", "4", "--out", str(tmp_path / "both")])
    gemonn.main([*EVOLUTION, "--seed", "4", "--out", str(tmp_path / "single")])
    assert content(tmp_path / "both" / "seed-4") == content(tmp_path / "single")
    assert content(tmp_path / "both" / "seed-1") != content(tmp_path / "single")


def test_one_table_has_the_means(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(front_report, "_draw", lambda *_: None)
    arguments = [*EVOLUTION, "--method", "pruning", "--budget", "4000", "--seed", "3"]
    gemonn.main([*arguments, "--seeds", "2", "--out", str(tmp_path)])
    with (tmp_path / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["3", "4"]
    mean = sum(float(row["log_hypervolume"]) for row in rows) / 2
    shown = capsys.readouterr().out
    assert f"{mean:.3f} ± " in shown and "written to" in shown
    assert f"| {mean:.3f} ± " in (tmp_path / "compare.md").read_text()


def test_only_what_ends_together_goes_side_by_side(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**10)
    dataset = few(load("mnist5k"))
    config = gemonn.check(gemonn.Config(method="gemonn", hidden=(8,)))
    assert front_training.capacity(config, dataset).runs > 1
    assert front_training.capacity(replace(config, final_refine_steps=9), dataset).runs == 1
    unlimited = replace(config, final_refine_steps=9, budget=None)
    assert front_training.capacity(unlimited, dataset).runs > 1
    assert front_training.capacity(replace(config, method="regrowth"), dataset).runs == 1
    for method, together in (("ga", True), ("sgd", True), ("pca", False)):
        training_config = mnist_ga.check(mnist_ga.Config(method=method))
        assert (training.capacity(training_config, dataset).runs > 1) == together


def test_a_single_seed_has_no_axis():
    key = seed_axis.keys([5])
    assert key.ndim == 0 and seed_axis.indices(key) == [None]
    tree = {"leaf": key}
    assert seed_axis.broadcast(key, tree) is tree and seed_axis.take_seed(tree, None) is tree
