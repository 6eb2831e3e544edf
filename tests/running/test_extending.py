"""Finished runs go on to more generations, as if they had had so many from the start."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from small_runs import EVOLUTION, TRAINING, content, make_small

from experiments import gemonn, mnist_ga
from experiments.autoencoder import report as autoencoder_report
from experiments.front import report
from experiments.running import checkpoint_manager
from experiments.running.checkpoint_manager import CheckpointManager
from experiments.running.cli import InputError, Interrupted

HEAVY = pytest.mark.heavy
CONSTANT = [*TRAINING, "--schedule", "constant", "--batch-size", "50"]
UNREFINED = [*EVOLUTION, "--final-refine-steps", "0", "--generations", "1000"]
MORE = ["--generations", "5"]
WHOLE = ["--whole-generations", "3"]
FROM_NONE = [*CONSTANT, "--whole-generations", "0"]
RUNS = {
    "refined": (gemonn.main, [*EVOLUTION, "--refine-steps", "0"], MORE),
    "budget": (gemonn.main, [*UNREFINED, "--budget", "3e3"], ["--budget", "6e3"]),
    "seeds": (gemonn.main, [*EVOLUTION, "--method", "nsga2", "--seeds", "2"], MORE),
    "ga": (mnist_ga.main, CONSTANT, WHOLE),
    "no limit": (
        gemonn.main,
        [*UNREFINED, "--budget", "3e3"],
        ["--budget", "None", "--generations", "4"],
    ),
    "sgd": (mnist_ga.main, [*CONSTANT, "--method", "sgd"], WHOLE),
    "whole from none": (mnist_ga.main, FROM_NONE, WHOLE),
}
LIGHT = ("budget",)


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        for module in (report, autoencoder_report):
            patch.setattr(module, "_draw", lambda *_: None)
        yield


def rows_of(directory):
    return (directory / "metrics.csv").read_text().splitlines()


def same(found, wanted):
    """Whether two run directories, or those of two seeds, have the same content."""
    names = [path.parent.name for path in wanted.glob("seed-*/summary.json")]
    assert all(content(found / name) == content(wanted / name) for name in names or [""])


@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(
    "name", [name if name in LIGHT else pytest.param(name, marks=HEAVY) for name in RUNS]
)
def test_an_extended_run_is_that_of_the_larger_number(name, tmp_path):
    main, arguments, more = RUNS[name]
    short, whole = tmp_path / "short", tmp_path / "whole"
    main([*arguments, "--out", str(short)])
    (first, *_) = short.rglob("metrics.csv")
    before = len(rows_of(first.parent))
    main([*arguments, *more, "--out", str(whole)])
    main(["--resume", str(short), *more, "--quiet"])
    same(short, whole)
    assert len(rows_of(first.parent)) > before
    saved = json.loads((short / "config.json").read_text())
    for flag, value in zip(more[::2], more[1::2], strict=True):
        field = saved[flag.removeprefix("--").replace("-", "_")]
        assert field == (None if value == "None" else float(value))


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """A finished run of gemonn; tests must not change its directory."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    gemonn.main([*EVOLUTION, "--out", str(directory)])
    return directory


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A finished run of mnist_ga; tests must not change its directory."""
    directory = tmp_path_factory.mktemp("trained") / "run"
    mnist_ga.main([*TRAINING, "--out", str(directory)])
    return directory


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("main", "which", "arguments", "message"),
    [
        (
            gemonn.main,
            "finished",
            ["--generations", "2"],
            "--generations must be 3 or more to extend this run, not 2",
        ),
        (gemonn.main, "finished", ["--budget", "1e9"], "--budget must be None to extend this run"),
        (gemonn.main, "finished", [*MORE, "--seed", "1"], "--seed must be 0, as at the start"),
        (gemonn.main, "finished", [*MORE, "--refine-steps", "5"], "--refine-steps must be 4, as"),
        (
            mnist_ga.main,
            "trained",
            ["--whole-generations", "0"],
            "--whole-generations must be 1 or more to extend this run, not 0",
        ),
        (mnist_ga.main, "trained", ["--generations", "2"], "--generations must be 1 1, as at"),
        (mnist_ga.main, "trained", [*WHOLE, "--learning-rate", "1"], "--learning-rate must be "),
    ],
)
def test_what_is_no_extension_is_refused(main, which, arguments, message, request):
    directory = request.getfixturevalue(which)
    before = files(directory)
    with pytest.raises(InputError, match=message):
        main(["--resume", str(directory), *arguments])
    assert files(directory) == before


@pytest.mark.parametrize(
    ("main", "arguments", "more"),
    [
        (gemonn.main, [*EVOLUTION, "--method", "pruning", "--budget", "5e3"], ["--budget", "6e3"]),
        (mnist_ga.main, [*TRAINING, "--method", "layerwise"], WHOLE),
    ],
)
def test_schedules_of_the_whole_length_are_not_extended(main, arguments, more, tmp_path):
    main([*arguments, "--out", str(tmp_path)])
    assert not (tmp_path / "state").exists()
    with pytest.raises(InputError, match=f"{more[0]} must be .*, as at the start of the run"):
        main(["--resume", str(tmp_path), *more])


def test_a_schedule_over_the_phase_goes_on_in_the_longer_one(trained, tmp_path):
    """Its last rate was almost zero, and is not anymore."""
    directory = Path(shutil.copytree(trained, tmp_path / "run"))
    before = content(directory)[0]
    mnist_ga.main(["--resume", str(directory), *WHOLE, "--quiet"])
    after = content(directory)[0]
    assert after[: len(before)] == before and len(after) == len(before) + 2
    assert float(after[-1]["best_rmse"]) < float(before[-1]["best_rmse"]) - 1e-3


@pytest.fixture
def cut_in(monkeypatch):
    """`cut_in(phase)` lets SIGTERM come in the first step of the phase; None for never."""
    original = CheckpointManager.step

    def cut(phase):
        def step(manager, ended, collect):
            if collect()[1]["phase"] == phase:
                manager._notice(signal.SIGTERM, None)
            original(manager, ended, collect)

        monkeypatch.setattr(CheckpointManager, "step", step)

    yield cut
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@HEAVY
@pytest.mark.usefixtures("user_flags")
def test_extensions_that_are_cut_go_on(cut_in, tmp_path):
    """A run that is cut in its final refinement, too, goes on to a larger number."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    gemonn.main([*EVOLUTION, "--generations", "5", "--out", str(whole)])
    gemonn.main([*EVOLUTION, "--generations", "2", "--out", str(run)])
    for phase, number in (("evolution", "4"), ("refinement", "4"), ("refinement", "5")):
        cut_in(phase)
        with pytest.raises(Interrupted):
            gemonn.main(["--resume", str(run), "--generations", number, "--quiet"])
        assert not (run / "summary.json").exists()
    cut_in(None)
    gemonn.main(["--resume", str(run), "--quiet"])
    same(run, whole)


@pytest.mark.parametrize("reason", ["flag", "size"])
def test_a_run_that_has_not_kept_its_state_is_not_extended(reason, tmp_path, monkeypatch):
    flags = []
    if reason == "flag":
        flags = ["--discard-state"]
    else:
        monkeypatch.setattr(checkpoint_manager, "_MOST_KEPT", 1000)
    gemonn.main([*EVOLUTION, *flags, "--out", str(tmp_path)])
    assert not (tmp_path / "state").exists()
    before = files(tmp_path)
    with pytest.raises(InputError, match="--resume must name a run that has kept its last state"):
        gemonn.main(["--resume", str(tmp_path), *MORE])
    assert files(tmp_path) == before


def test_a_damaged_state_is_refused(run):
    (facts,) = run.glob("state/*/facts.json")
    facts.write_text("{}")
    before = files(run)
    with pytest.raises(InputError, match="--resume must name a run with an intact checkpoint"):
        gemonn.main(["--resume", str(run), *MORE])
    assert files(run) == before


def test_without_a_larger_number_a_finished_run_is_left_as_it_is(run, capsys):
    before = files(run)
    for flags in ([], ["--generations", "3"]):
        gemonn.main(["--resume", str(run), *flags])
        assert capsys.readouterr().out == f"{run} is finished\n"
    assert files(run) == before


@HEAVY
def test_an_extended_run_goes_on_to_draw_its_front(run):
    gemonn.main(["--resume", str(run), *MORE, "--plot", "--quiet"])
    gemonn.main(["--resume", str(run), "--generations", "6", "--plot", "--quiet"])
    assert (run / "figures" / "front.png").stat().st_size > 1000
