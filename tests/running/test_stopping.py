"""Stop signals at any moment, and the order in which a run ends."""

import os
import shutil
import signal
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from experiments import gemonn
from experiments.running import run_directory, signals
from experiments.running.checkpoint_manager import CheckpointManager
from experiments.running.cli import InputError, Interrupted
from experiments.running.hosts import ALONE, Hosts
from experiments.running.resuming import advice_on_interruption, leave

TREE = np.zeros(1)


@pytest.fixture(autouse=True)
def own_handlers(monkeypatch):
    """Handlers are those of before, and no signal has come yet."""
    monkeypatch.setattr(signals, "_first", None)
    before = {number: signal.getsignal(number) for number in signals._STOP}
    for number in signals._STOP:  # tests that run in the background ignore some
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", signals._STOP)
def test_a_signal_raises_what_names_it(number):
    with pytest.raises(Interrupted, match=signal.Signals(number).name) as caught:
        with signals.raised():
            stop(number)
    assert caught.value.status == 128 + number
    stop(number)  # which is ignored, as the process is about to end


def test_two_signals_at_once_count_as_one(monkeypatch):
    seen = []
    with signals.handled(lambda number, frame: seen.append(number)):
        stop(signal.SIGTERM)
        stop(signal.SIGINT)
        assert seen == [signal.SIGTERM]
        ended = []
        monkeypatch.setattr(os, "kill", lambda *given: ended.append(given))
        monkeypatch.setattr(signals, "_first", 0.0)  # long ago
        signal.raise_signal(signal.SIGINT)
        assert ended == [(os.getpid(), signal.SIGINT)]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL


def test_signals_that_are_ignored_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.handled(lambda *_: pytest.fail("it was ignored")):
        stop(signal.SIGINT)


def test_a_signal_in_a_callback_that_cannot_raise_is_raised_later():
    """As in the callback of JAX at a collection of garbage, where a signal was lost."""

    class Thing:
        pass

    with pytest.raises(Interrupted, match="SIGTERM"), signals.raised():
        thing = Thing()
        weakref.finalize(thing, stop)
        del thing
        signal.pause()  # until the next one


@pytest.mark.parametrize("word", ["experiments.gemonn", "experiments.benchmark"])
def test_a_signal_during_imports_ends_a_program_with_a_sentence(word):
    program = f"""
import os, signal, sys
sys.argv, sys.orig_argv = ["-m"], ["python", "-m", {word!r}]
signal.signal(signal.SIGTERM, signal.SIG_DFL)
import experiments
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    name = word.partition(".")[2]
    assert done.stderr == f"{name}: interrupted by SIGTERM; nothing was written\n"
    assert done.returncode == 128 + signal.SIGTERM


def test_a_signal_during_imports_is_told_to_the_other_processes(monkeypatch, capfd):
    told = []
    monkeypatch.setattr(os, "_exit", lambda status: told.append(status))
    with signals.ending("program", lambda *what: told.append(what)):
        stop()
    assert told == [("interrupted by SIGTERM", 143), 143]
    assert capfd.readouterr().err == "program: interrupted by SIGTERM; nothing was written\n"


def manager(directory, hosts=ALONE):
    return CheckpointManager(directory, "2m", {}, hosts=hosts)


def test_a_signal_behind_the_last_step_saves_it(tmp_path):
    """And one where there are no steps at all stops the run as well."""
    with pytest.raises(Interrupted, match="interrupted by SIGTERM$"):
        with manager(tmp_path).defer_signals():
            stop()
    keeper = manager(tmp_path)
    signals._first = None
    with pytest.raises(Interrupted, match="interrupted by SIGINT, state saved$"):
        with keeper.defer_signals():
            keeper.step(True, lambda: (TREE, {"number": 7}))
            stop(signal.SIGINT)
    resumed = manager(tmp_path).resumed
    assert resumed is not None and resumed.facts["number"] == 7


def test_a_signal_while_processes_agree_that_there_was_none_is_not_lost(tmp_path):
    """At the end of the training, where there is no further step that would heed it."""
    hosts = Hosts()

    def share(decide):
        value = decide()
        stop()
        return value

    keeper = manager(tmp_path, hosts)
    hosts.share = share
    with pytest.raises(Interrupted, match="^interrupted by SIGTERM$"):
        with keeper.defer_signals():
            pass


def test_a_run_without_finite_losses_stays_ended(tmp_path):
    keeper = manager(tmp_path)
    with pytest.raises(InputError, match="the state is saved in"):
        with keeper.save_on_failure(lambda: (TREE, {})):
            raise InputError("--learning-rate must be lower")
    with pytest.raises(InputError, match="^--learning-rate must be lower$"):
        manager(tmp_path)


STATES = {
    "nothing was written": [],
    "resume with: this": ["config.json"],
    "is finished": ["config.json", "summary.json"],
    "is gone": None,
}


@pytest.mark.parametrize("sentence", STATES)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk is full")])
def test_the_sentence_is_true_of_what_is_there(sentence, error, tmp_path):
    if (names := STATES[sentence]) is None:
        tmp_path.rmdir()
    for name in names or ():
        (tmp_path / name).touch()
    with pytest.raises(type(error), match=f"{sentence}$"):
        with advice_on_interruption(partial(leave, "resume with: this", tmp_path)):
            raise error


@pytest.mark.parametrize("names", STATES.values())
def test_a_process_that_writes_nothing_says_what_the_others_cannot_change(names, tmp_path):
    if names is None:
        tmp_path.rmdir()
    for name in names or ():
        (tmp_path / name).touch()
    said = leave("resume with: this", tmp_path, writes=False)
    assert bool(said) == bool(names) and tmp_path.exists() == (names is not None)


def test_what_is_left_from_before_a_run_began_is_nothing(tmp_path):
    for name in run_directory._BEFORE:
        (tmp_path / name).touch()
    run_directory.require_empty(tmp_path)
    assert leave("resume with: this", tmp_path) == "; nothing was written"
    assert not tmp_path.exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 9 bytes")])
def test_memory_that_runs_out_is_told_with_the_flags_to_lower(error, tmp_path):
    (tmp_path / "config.json").touch()
    expected = "^memory has run out: .*--population-size, --batch-size .*; resume with: this$"
    with pytest.raises(InputError, match=expected):
        with advice_on_interruption(partial(leave, "resume with: this", tmp_path)):
            raise error


def test_a_directory_without_a_config_is_removed(tmp_path):
    with pytest.raises(Interrupted):
        with run_directory.open_run(tmp_path / "run", None, "gemonn", ALONE) as directory:
            (directory / "config.json.partial").touch()
            raise Interrupted("interrupted", 130)
    assert not (tmp_path / "run").exists()
    # After a kill at the same moment, the directory can still be used.
    (tmp_path / "run").mkdir()
    for name in run_directory._BEFORE:
        (tmp_path / "run" / name).touch()
    with run_directory.open_run(tmp_path / "run", None, "gemonn", ALONE) as directory:
        run_directory.save_config(gemonn.Config(), directory / "config.json")
        run_directory.tidy(directory)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_results_are_on_the_disk_before_the_summary_is_written(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, os.replace

    def seen_sync(descriptor):
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def seen_replace(source, target):
        events.append(f"-> {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(os, "replace", seen_replace)
    (tmp_path / "figures").mkdir()
    for name in ("front.csv", "figures/front.png"):
        (tmp_path / name).touch()
    run_directory.save_summary({"loss": float("nan"), "rows": [float("inf"), 1.5]}, tmp_path)
    end = ["summary.json.partial", "-> summary.json", tmp_path.name]
    assert events[-3:] == end
    assert sorted(events[:-3]) == sorted(["figures", "front.csv", "front.png", tmp_path.name])
    text = (tmp_path / "summary.json").read_text()
    assert "null" in text and "NaN" not in text and "Infinity" not in text


def test_a_run_killed_before_it_was_tidy_is_tidied(front_run, tmp_path, capsys):
    directory = shutil.copytree(front_run, tmp_path / "run")
    before = sorted(directory.rglob("*"))
    (directory / "checkpoints" / "00000001").mkdir(parents=True)
    (directory / "front.csv.partial").touch()
    (directory / "state" / "00000002.partial").mkdir()
    gemonn.main(["--resume", str(directory), "--quiet"])
    assert capsys.readouterr().out == f"{directory} is finished\n"
    assert sorted(directory.rglob("*")) == before
