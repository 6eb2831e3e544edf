"""A dry run tells what a run would be, and makes none."""

import re
from dataclasses import replace

import pytest
from small_runs import load_few

from experiments import gemonn, mnist_ga
from experiments.autoencoder import compare
from experiments.front import compare as front_compare
from experiments.running import dry_run, memory, meter
from experiments.running.cli import InputError
from experiments.running.meter import Meter

SMALL = {
    gemonn: "--hidden 16 --population-size 6 --batch-size 50 --refine-steps 2",
    mnist_ga: "--layers 784 16 --population-size 4 --generations 1000",
}


@pytest.fixture(autouse=True)
def nothing_there(tmp_path, monkeypatch):
    """An empty working directory, few images, and no time for more than a step."""
    monkeypatch.chdir(tmp_path)
    load_few(monkeypatch)
    monkeypatch.setattr(dry_run, "_SECONDS", 0)
    yield
    assert not list(tmp_path.glob("*")), "a dry run writes nothing"


@pytest.mark.parametrize("module", SMALL)
def test_settings_memory_and_time_are_printed(module, capsys):
    module.main([*SMALL[module].split(), "--dry-run", "--seeds", "3", "--quiet"])
    printed = capsys.readouterr().out
    for field, value in vars(module.Config()).items():
        if value is not None and field != "dry_run":
            assert f"--{field}".replace("_", "-") in printed
    assert re.search(r"memory of \w+ +│ \d+\.\d GB of [\d.]+ GB available", printed)
    assert re.search(r"training of \w+ +│ about \d+:\d\d:\d\d for each of 3 runs", printed)
    assert "all training" in printed


@pytest.mark.parametrize(
    ("module", "command", "flag", "rows", "told"),
    [
        (mnist_ga, compare, "--rows", "ga-tanh sgd-relu pca", "sgd-relu-steps sgd-relu-cost pca"),
        (gemonn, front_compare, "--methods", *["gemonn pruning descent"] * 2),
    ],
)
def test_a_comparison_tells_of_each_row_and_of_all(module, command, flag, rows, told, capsys):
    flags = [*SMALL[module].split(), "--seeds", "2", "--quiet", "--dry-run"]
    command.main([*flags, flag, *rows.split()])
    printed = capsys.readouterr().out
    for row in told.split():
        assert f"training of {row}" in printed
    assert "--method " not in printed and "--activation " not in printed
    assert "all training" in printed


def test_what_a_run_would_refuse_is_refused(monkeypatch, tmp_path_factory):
    flags = ["--dry-run", "--quiet"]
    full = tmp_path_factory.mktemp("full")
    (full / "something").touch()
    with pytest.raises(InputError, match="--out must be a new or an empty directory, not"):
        gemonn.main([*flags, "--out", str(full)])
    with pytest.raises(InputError, match="--out must be a new or an empty directory, not"):
        gemonn.main([*flags, "--out", str(full / "something")])
    with pytest.raises(InputError, match="--dry-run must be left out with --distributed"):
        gemonn.main([*flags, "--distributed"])
    with pytest.raises(InputError, match="--budget must be given unless .* is a finished run"):
        front_compare.main(["--dry-run", "--preset", "paper", "--methods", "pruning"])
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(InputError, match="--population-size must be at most"):
        gemonn.main([*flags, "--hidden", "500", "--population-size", "1000"])


@pytest.mark.parametrize("limits", [{"generations": 10, "budget": None}, {"budget": 1e5}])
def test_the_whole_is_told_with_its_final_refinement(limits, front_config, front_dataset):
    """The last estimates before and after the evolution ends are of the same whole."""
    from experiments.front import training as front_training
    from experiments.running.progress import Progress

    told = []

    class Watch(Progress):
        def update(self, *, phase, remaining, **_):
            told.append((phase, remaining))

    config = replace(front_config, final_refine_steps=100, **limits)
    front_training.train(config, dataset=front_dataset, progress=Watch(quiet=True))
    assert {phase for phase, _ in told} == {"evolution", "refinement"}
    before = [left for phase, left in told if phase == "evolution" and left is not None]
    assert before[-1] > 0, "the refinement is left"
    assert told[-1][1] == pytest.approx(0, abs=0.2 * before[0])


def test_time_left_leaves_out_the_first_step_of_each_phase(monkeypatch):
    now = iter([0, 100, 101, 102, 150, 151])
    monkeypatch.setattr(meter.time, "perf_counter", lambda: next(now))
    told = Meter(print)  # at 0
    assert told.remaining("one", 0.1) is None
    assert told.remaining("one", 0.2) == pytest.approx(8)
    assert told.remaining("one", 0.3) == pytest.approx(7)
    assert told.remaining("two", 0.5) == pytest.approx(5)
    assert told.remaining("two", 0.7) == pytest.approx(3 / 0.4 * 0.3)
