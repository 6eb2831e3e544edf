"""Runs that were cut short go on to the same end, and under nothing else."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from small_runs import EVOLUTION, TRAINING, content, make_small, small_steps  # noqa: F401

from experiments import gemonn, mnist_ga
from experiments.front import checks as front_checks
from experiments.running import checkpoint_manager, checkpoints, resuming, run_directory
from experiments.running.checkpoint_manager import CheckpointManager
from experiments.running.cli import InputError, Interrupted, run_main

pytestmark = pytest.mark.usefixtures("small_steps")

PROGRAMS = {
    "mnist_ga": (mnist_ga.main, [*TRAINING, "--batch-size", "50"]),
    "gemonn": (gemonn.main, EVOLUTION),
}
HEAVY = pytest.mark.heavy
PRETRAINED = ["--method", "pretrained", "--optimizer", "muon"]
PRUNING = ["--method", "pruning", "--budget", "10000"]
DESCENT = ["--method", "descent", "--budget", "3000"]
LADDER = ["--method", "ladder", "--population-size", "3", "--final-refine-steps", "0"]
LINEAGE = [*LADDER, "--budget", "24000", "--lineage", "0.3"]
RUNS = [
    pytest.param("mnist_ga", ["--seeds", "1", "4"], 6, id="ga", marks=HEAVY),
    pytest.param("mnist_ga", PRETRAINED, 6, id="pretrained", marks=HEAVY),
    pytest.param("gemonn", ["--seeds", "1", "4"], 7, id="gemonn", marks=HEAVY),
    pytest.param("gemonn", [], 7, id="gemonn alone", marks=HEAVY),
    pytest.param("gemonn", ["--method", "nsga2"], 4, id="nsga2"),
    pytest.param("gemonn", PRUNING, 9, id="pruning", marks=HEAVY),
    pytest.param("gemonn", DESCENT, 4, id="descent", marks=HEAVY),
    pytest.param("gemonn", [*LADDER, "--rate-genes"], 9, id="ladder", marks=HEAVY),
    pytest.param("gemonn", LINEAGE, 20, id="lineage", marks=HEAVY),
]


@pytest.fixture
def interrupt(monkeypatch):
    """A function that lets SIGTERM come in the step of that number; -1 for never."""
    original, steps = CheckpointManager.step, []

    def cut(at):
        steps.clear()

        def step(keeper, ended, collect):
            steps.append(ended)
            if len(steps) == at:
                keeper._notice(signal.SIGTERM, None)
            original(keeper, ended, collect)

        monkeypatch.setattr(CheckpointManager, "step", step)
        return steps

    yield cut
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(("name", "more", "expected"), RUNS)
def test_a_run_cut_at_any_step_comes_to_the_same_end(name, more, expected, interrupt, tmp_path):
    main, arguments = PROGRAMS[name]
    arguments = [*arguments, *more]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    steps = interrupt(-1)
    main([*arguments, "--out", str(whole)])
    count = len(steps)
    assert count >= expected, "there is no generation of several steps"
    main_arguments = [*arguments, "--out", str(cut)]
    for at in (1, count // 3, count // 3):  # each resumed run is cut once more
        interrupt(at)
        with pytest.raises(Interrupted, match=f"experiments.{name} --resume {cut}") as caught:
            main(main_arguments)
        assert caught.value.status == 128 + signal.SIGTERM
        main_arguments = ["--resume", str(cut), "--quiet"]
    interrupt(-1)
    main(main_arguments)
    seeds = ["seed-1", "seed-4"] if "--seeds" in arguments else [""]
    for seed in seeds:
        assert content(cut / seed) == content(whole / seed)


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory):
    """A run of gemonn that was cut after a few steps; tests must not change its directory."""
    directory = tmp_path_factory.mktemp("cut") / "run"
    original = CheckpointManager.step
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)

        def step(keeper, ended, collect):
            original(keeper, ended, collect)
            if len(list((directory / "checkpoints").iterdir())) == 3:
                raise KeyboardInterrupt

        patch.setattr(CheckpointManager, "step", step)
        with pytest.raises(Interrupted, match="interrupted; resume with"):
            gemonn.main([*EVOLUTION, "--checkpoint-every", "0m", "--out", str(directory)])
    return directory


@pytest.fixture
def begun(cut_run, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(cut_run, tmp_path / "run"))


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "9"], "--hidden must be 8, as at the start of the run, not 9"),
        (["--learning-rate", "0.5"], "--learning-rate must be "),
        (["--seed", "1"], "--seed must be 0, as at the start of the run, not 1"),
        (["--dataset", "mnist"], "--dataset must be mnist5k"),
        (["--model", "mlp"], "--model must be "),
        (["--chunk-size", "2"], "--chunk-size must be None"),  # which changes numbers
        (["--seeds", "2"], "--seeds must be None"),
        (["--precision", "bfloat16"], "--precision must be float32"),
        (["--out", "other"], "--out must be left out with --resume"),
        (["--config", "config.json"], "--config "),
        (["--dry-run"], "--dry-run must be left out with --resume"),
        (["--checkpoint-every", "often"], "--checkpoint-every must be a number of generations"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be a number of generations"),
    ],
)
def test_other_settings_are_refused(begun, arguments, message):
    before = files(begun)
    with pytest.raises(InputError, match=message):
        gemonn.main(["--resume", str(begun), *arguments])
    assert files(begun) == before


def test_another_data_set_is_refused(begun, monkeypatch):
    original = front_checks.load
    monkeypatch.setattr(
        front_checks,
        "load",
        lambda *source: (data := original(*source))._replace(train_images=data.train_images[::-1]),
    )
    before = files(begun)
    with pytest.raises(InputError, match="the content of the data set must be "):
        gemonn.main(["--resume", str(begun)])
    assert files(begun) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_default_matmul_precision", "bfloat16"),
        ("jax_threefry_partitionable", False),
        ("jax_default_prng_impl", "rbg"),
    ],
)
def test_settings_of_jax_that_change_numbers_are_refused(begun, name, value):
    import jax

    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        expected = f"^{name} must be {before}, as at the start of the run, not {value}$"
        with pytest.raises(InputError, match=expected):
            gemonn.main(["--resume", str(begun)])
    finally:
        jax.config.update(name, before)


def test_flags_of_xla_that_change_numbers_are_refused(begun, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_cpu_enable_fast_math=true")
    with pytest.raises(InputError, match="^XLA_FLAGS must be --xla_cpu_use.*, not --xla_cpu_enab"):
        gemonn.main(["--resume", str(begun)])


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_no_run_cannot_be_resumed(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("sys.argv", ["gemonn", "--resume", str(tmp_path / name)])
    assert run_main(gemonn.main, "gemonn") == 2
    assert capsys.readouterr().err.startswith("gemonn: error: --resume ")
    assert not any((tmp_path / "empty").iterdir())


@pytest.mark.heavy
def test_a_damaged_checkpoint_costs_only_the_steps_behind_it(begun, tmp_path, capsys):
    """Checkpoints may be made less often from then on; a finished run is left as it is."""
    newest = max((begun / "checkpoints").iterdir())
    (newest / "facts.json").write_text("{}")
    seldom = ["--checkpoint-every", "5", "--quiet"]
    gemonn.main(["--resume", str(begun), *seldom])
    assert run_directory.is_finished(begun)
    assert f"checkpoint {newest} is damaged" in capsys.readouterr().err
    before = files(begun)
    gemonn.main(["--resume", str(begun), "--quiet"])
    assert files(begun) == before
    assert capsys.readouterr().out.endswith(f"{begun} is finished\n")
    gemonn.main([*EVOLUTION, *seldom, "--out", str(tmp_path / "whole")])
    assert content(begun) == content(tmp_path / "whole")


def test_the_error_of_a_full_disk_says_how_to_resume(tmp_path, monkeypatch, capsys):
    def save(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save", save)
    out = tmp_path / "run"
    words = ["gemonn", *EVOLUTION, "--checkpoint-every", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    assert run_main(gemonn.main, "gemonn") == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "No space left on device; resume with: " in line


def test_two_runs_do_not_share_a_directory(begun, tmp_path):
    with run_directory.locked(begun, "--resume"):
        with pytest.raises(InputError, match="--resume must be a directory that no other run uses"):
            gemonn.main(["--resume", str(begun)])
    (tmp_path / "new").mkdir()
    with run_directory.locked(tmp_path / "new", "--out"):
        with pytest.raises(InputError, match="--out must be a directory that no other run uses"):
            gemonn.main([*EVOLUTION, "--out", str(tmp_path / "new")])


def test_a_checkpoint_is_made_every_so_many_generations(tmp_path, monkeypatch):
    rows = []

    def save(folder, trees, facts, **_):
        rows.append((folder.name, len(facts["runs"][0]["recorder"]["meter"]["rows"])))
        assert json.dumps(facts)

    monkeypatch.setattr(checkpoints, "save", save)
    gemonn.main([*EVOLUTION, "--checkpoint-every", "2", "--out", str(tmp_path)])
    assert rows == [("checkpoints", 2), ("checkpoints", 4), ("state", 4)]


def test_checkpoints_of_another_format_are_refused():
    now = resuming.run_identity(gemonn.Config(), [0], [])
    old = {name: value for name, value in now.items() if "format" not in name}
    resuming.refuse_differences(now, now)
    with pytest.raises(InputError, match="^--resume must name a run of this version"):
        resuming.refuse_differences(old, now)
    present = now[resuming._FORMAT]
    with pytest.raises(InputError, match=f"have format {present}, not 9: end it with the version"):
        resuming.refuse_differences({**now, resuming._FORMAT: "9"}, now)


def test_a_run_of_before_a_flag_came_is_resumed():
    now = resuming.run_identity(gemonn.Config(), [0], [])
    old = {name: value for name, value in now.items() if name != "--rate-genes"}
    resuming.refuse_differences(old, now)
    with pytest.raises(InputError, match="--hidden must be 8, as at the start of the run"):
        resuming.refuse_differences({**old, "--hidden": "8"}, now)


def test_a_copied_run_goes_on_elsewhere_and_says_that_it_rounds(tmp_path, monkeypatch, capsys):
    tree = np.arange(3, dtype=np.float32)
    (tmp_path / "here").mkdir()
    CheckpointManager(tmp_path / "here", "2m", {})._save(lambda: (tree, {"number": 7}))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    found = CheckpointManager(tmp_path / "there", "2m", {}).resumed
    assert found is not None and found.facts["number"] == 7
    np.testing.assert_array_equal(found.take(tree), tree)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(checkpoint_manager, "machine", lambda: "another machine")
    CheckpointManager(tmp_path / "there", "2m", {})
    line = capsys.readouterr().err
    assert "goes on on another machine" in line and "up to rounding" in line


def test_a_group_that_runs_cannot_be_resumed_in_part(tmp_path):
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-1").mkdir()
    refused = pytest.raises(InputError, match="--resume must be a directory that no other run uses")
    with run_directory.locked(tmp_path, "--out"), refused:
        with run_directory.locked(tmp_path / "seed-0", "--resume"):
            pass
    with run_directory.locked(tmp_path / "seed-0", "--resume"):
        with run_directory.locked(tmp_path / "seed-1", "--resume"):  # side by side
            pass
        with refused, run_directory.locked(tmp_path, "--resume"):
            pass
