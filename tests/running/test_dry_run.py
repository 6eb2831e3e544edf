"""A dry run tells what a run would be, and makes none."""

import re
from dataclasses import replace
from types import SimpleNamespace

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
    mnist_ga: "--layers 784 16 8 --population-size 4 --generations 1000",
}
PHASES = {gemonn: {"evolution", "refinement"}, mnist_ga: {"784-16", "16-8", "all layers"}}


@pytest.fixture(autouse=True)
def nothing_there(tmp_path, monkeypatch):
    """An empty working directory, few images, and no time for more than a step."""
    monkeypatch.chdir(tmp_path)
    load_few(monkeypatch)
    monkeypatch.setattr(dry_run, "_SECONDS", 0)
    yield
    assert not list(tmp_path.glob("*")), "a dry run writes nothing"


@pytest.mark.parametrize("module", SMALL)
def test_settings_memory_and_time_are_printed_and_every_phase_is_measured(
    module, capsys, monkeypatch
):
    seen = set()

    class Watch(dry_run._Stopwatch):
        def update(self, *, phase, **options):
            super().update(phase=phase, **options)
            seen.add(phase)

    monkeypatch.setattr(dry_run, "_Stopwatch", Watch)
    flags = SMALL[module].split()
    if module is gemonn:
        flags += ["--method", "gemonn", "--final-refine-steps", "20"]
    module.main([*flags, "--dry-run", "--seeds", "3", "--quiet"])
    assert seen == PHASES[module]
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
        pytest.param(
            *(gemonn, front_compare, "--methods", *["gemonn pruning descent"] * 2),
            marks=pytest.mark.heavy,
        ),
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


@pytest.mark.heavy
@pytest.mark.parametrize(
    "limits",
    [{"generations": 10, "budget": None}, {"budget": 1e5}],
)
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


def info(generation, stage):
    return SimpleNamespace(generation=generation, stage=stage)


def test_the_first_piece_of_a_stage_and_generation_0_are_not_warm():
    told = Meter(print)
    steps = [
        ("one", info(0, "score"), False),
        ("one", info(0, "score"), False),  # comes only once
        ("one", info(1, "breed"), False),
        ("one", info(1, "finetune"), False),
        ("one", info(1, "finetune"), True),
        ("one", info(1, "score"), True),  # compiled in generation 0
        ("one", info(2, "breed"), True),
        ("two", info(1, "finetune"), False),
        ("two", info(1, "finetune"), True),
    ]
    for phase, seen, expected in steps:
        assert told.is_warm(phase, seen) == expected, (phase, seen)


def test_time_left_is_that_of_warm_steps(monkeypatch):
    now = iter([0, 100, 101, 102, 150, 152])
    monkeypatch.setattr(meter.time, "perf_counter", lambda: next(now))
    told = Meter(print)  # at 0
    assert told.remaining(0.1, False) is None
    assert told.remaining(0.2, True) == pytest.approx(8)
    assert told.remaining(0.3, True) == pytest.approx(7)
    assert told.remaining(0.5, False) == pytest.approx(5)
    assert told.remaining(0.7, True) == pytest.approx(4 / 0.4 * 0.3)


def test_stages_have_their_own_speed(monkeypatch):
    """Half of the training is cold; scoring is faster, and breeding is no share of the cost."""
    now = 0.0
    monkeypatch.setattr(dry_run, "monotonic", lambda: now)
    watch = dry_run._Stopwatch()
    steps = [
        ("score", 30, 0.0, False),
        ("train", 50, 0.03, False),
        ("train", 6, 0.06, True),
        ("breed", 20, 0.06, False),
        ("score", 2, 0.1, True),
    ]
    for stage, seconds, fraction, is_warm in steps:
        now += seconds
        known = {"stage": stage, "is_warm": is_warm}
        watch.update(phase="one", generation=1, fraction=fraction, **known)
    assert watch.seconds() == pytest.approx(30 + 50 + 20 + 8 + 9 * (12 + 2))
    now += 3
    watch.update(phase="one", generation=2, fraction=0.1, stage="breed", is_warm=True)
    assert watch.seconds() == pytest.approx(108 + 3 + 9 * (12 + 2) + 3 / 0.07 * 0.9)


@pytest.mark.parametrize("slow", [100, 1_000])
def test_a_slow_first_piece_is_not_extrapolated(slow, monkeypatch):
    """Each phase has its own speed, and its first piece counts once."""
    now = 0.0
    monkeypatch.setattr(dry_run, "monotonic", lambda: now)
    monkeypatch.setattr(dry_run, "_SECONDS", 3)
    watch = dry_run._Stopwatch()
    ended = {}
    for phase, seconds, share in (("layers", 2, 0.1), ("all layers", 1, 0.01)):
        fraction = 0.0
        for step in range(100):
            now += slow if step == 0 else seconds
            fraction += share
            generation = step // 2 if phase == "layers" else 0
            watch.update(phase=phase, generation=generation, fraction=fraction, is_warm=step > 0)
            if watch.is_enough():
                ended[phase] = step
                break
    assert ended == {"layers": 3, "all layers": 15}, "a whole generation, or 15 s"
    with pytest.raises(dry_run._EstimatedError):
        now += 5
        watch.status("measuring")
    assert watch.seconds() == pytest.approx(2 * slow + 9 * 2 + 99 * 1 + 5)
