"""Checkpoints on disk: written whole or not at all, and never read where they are damaged."""

import errno
import json
import os
import shutil
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from fuzzing import SCALE

from experiments import mnist_ga
from experiments.benchmark import saving
from experiments.running import checkpoints
from experiments.running.cli import InputError

TREES = {
    "kernel": jnp.arange(12, dtype=jnp.float32).reshape(3, 4),
    "half": jnp.ones(3, jnp.bfloat16),
    "bits": jnp.array([1, 2**31], jnp.uint32),
    "signs": jnp.array([-1, 1], jnp.int8),
    "alive": jnp.array([True, False]),
    "count": jnp.int32(7),
    "nothing": jnp.zeros((0, 3)),
    "odd": jnp.array([jnp.nan, jnp.inf, -0.0, 1e-45]),
}
FACTS = {"cost": 0.1 + 0.2, "rows": [{"loss": float("nan")}]}


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints, numbered in their facts."""
    for number in range(1, 4):
        checkpoints.save(tmp_path / "checkpoints", TREES, {"number": number})
    return tmp_path / "checkpoints"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def load(folder):
    """The facts of what is loaded, and what is said meanwhile."""
    said = []
    found = checkpoints.load(folder, said.append)
    return found.facts, said


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    checkpoints.save(tmp_path / "new", TREES, FACTS)
    found = checkpoints.load(tmp_path / "new", pytest.fail)
    trees = found.take(TREES)
    for leaf, expected in zip(jax.tree.leaves(trees), jax.tree.leaves(TREES), strict=True):
        expected = np.asarray(expected)
        assert leaf.dtype == expected.dtype and leaf.shape == expected.shape
        assert np.asarray(leaf).tobytes() == expected.tobytes()
    assert repr(found.facts) == repr(FACTS)


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert checkpoints.load(tmp_path, pytest.fail) is None
    assert checkpoints.load(tmp_path / "missing", pytest.fail) is None


@pytest.mark.parametrize(
    "other",
    [
        {**TREES, "kernel": jnp.zeros((4, 3))},
        {**TREES, "count": jnp.float32(7)},
        {**TREES, "zzz": jnp.zeros(1)},
    ],
)
def test_a_tree_of_another_form_is_refused(folder, other):
    with pytest.raises(InputError, match="--resume"):
        checkpoints.load(folder, pytest.fail).take(other)


def test_the_last_few_are_kept(folder):
    for number in (4, 5):
        checkpoints.save(folder, TREES, {"number": number})
    assert names(folder) == ["00000003", "00000004", "00000005"]
    assert load(folder) == ({"number": 5}, [])


def files(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def largest(checkpoint):
    return max(files(checkpoint), key=lambda path: path.stat().st_size)


DAMAGES = {
    "a flipped bit in the arrays": lambda newest: flip(largest(newest)),
    "truncated arrays": lambda newest: largest(newest).write_bytes(
        largest(newest).read_bytes()[:50]
    ),
    "a flipped bit in the facts": lambda newest: flip(newest / "facts.json"),
    "a flipped bit in the manifest": lambda newest: flip(newest / "manifest.json"),
    "an empty manifest": lambda newest: (newest / "manifest.json").write_text(""),
    "a manifest of another kind": lambda newest: (newest / "manifest.json").write_text("[1]"),
    "a manifest of brackets": lambda newest: (newest / "manifest.json").write_text("[" * 200_000),
    "no manifest": lambda newest: (newest / "manifest.json").unlink(),
    "no arrays": lambda newest: shutil.rmtree(newest / "arrays"),
    "half of the files": lambda newest: [path.unlink() for path in files(newest)[::2]],
    "a file too many": lambda newest: (newest / "arrays" / "more").write_text("more"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_told_and_passed_over(folder, damage):
    damage(folder / "00000003")
    facts, said = load(folder)
    assert facts == {"number": 2}
    assert len(said) == 1 and "00000003 is damaged" in said[0]


@pytest.mark.parametrize("place", range(12))
def test_no_flipped_byte_goes_unnoticed(folder, place):
    everything = files(folder / "00000003")
    flip(everything[place % len(everything)])
    assert load(folder)[0] == {"number": 2}


def flip_each(checkpoint, step, label, record_property):
    """Flip a bit of every so many bytes, one at a time, each of which must be noticed.

    With GAJAX_HEAVY below 1, of as many as it says.
    """
    sizes = {path: path.stat().st_size for path in files(checkpoint)}
    step, start, seen, tried = max(1, round(step / SCALE)), 0, 0, 0
    try:
        for path, size in sizes.items():
            with path.open("r+b", buffering=0) as file:
                for at in range(start, size, step):
                    tried += 1
                    (byte,) = os.pread(file.fileno(), 1, at)
                    os.pwrite(file.fileno(), bytes([byte ^ 1]), at)
                    assert checkpoints._damage(checkpoint), (path, at)
                    os.pwrite(file.fileno(), bytes([byte]), at)
                    seen += 1
            start = (start - size) % step
        assert not checkpoints._damage(checkpoint)
        assert tried == -(-sum(sizes.values()) // step)
    finally:
        record_property("count", (label, seen, tried, 0))


@pytest.mark.heavy
def test_no_flipped_byte_of_a_checkpoint_goes_unnoticed(folder, record_property):
    label = "flipped bytes of a small checkpoint noticed"
    flip_each(folder / "00000003", 1, label, record_property)


@pytest.mark.heavy
def test_no_flipped_byte_of_a_default_checkpoint_goes_unnoticed(tmp_path, record_property):
    """Of a run of mnist_ga with the default settings, 14 MB."""
    collect = saving._collected(saving.MNIST_GA, mnist_ga.check(mnist_ga.Config()))
    checkpoints.save(tmp_path, *collect())
    label = "flipped bytes of a default checkpoint noticed"
    flip_each(tmp_path / "00000001", 64, label, record_property)


def test_a_run_all_of_whose_checkpoints_are_damaged_is_refused(folder):
    for checkpoint in folder.iterdir():
        flip(largest(checkpoint))
    with pytest.raises(InputError, match="--resume must name a run with an intact checkpoint"):
        checkpoints.load(folder, lambda text: None)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("No space left on ...")]
)
def test_a_full_disk_leaves_the_last_checkpoint(folder, monkeypatch, error):
    def save(self, path, tree):
        path.mkdir()
        (path / "half").write_text("written")
        raise error

    monkeypatch.setattr(orbax.checkpoint.PyTreeCheckpointer, "save", save)
    with pytest.raises(OSError, match="checkpoint 4 could not be written: .*No space left"):
        checkpoints.save(folder, TREES, {"number": 4})
    assert names(folder) == ["00000001", "00000002", "00000003"]
    assert load(folder) == ({"number": 3}, [])


def test_threads_of_orbax_say_nothing_after_an_error(folder, monkeypatch):
    """TensorStore calls back into a loop that is closed, which no one can catch."""

    def save(self, path, tree):
        raise ValueError("No space left on ...")

    said, signal = [], SimpleNamespace(exc_value=KeyboardInterrupt())
    monkeypatch.setattr(sys, "excepthook", lambda *given: said.append(given))
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    monkeypatch.setattr(orbax.checkpoint.PyTreeCheckpointer, "save", save)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(folder, TREES, {})
    late = RuntimeError("Event loop is closed")
    sys.excepthook(RuntimeError, late, None)
    sys.unraisablehook(SimpleNamespace(exc_value=late))
    sys.unraisablehook(signal)
    assert said == [signal]


def test_a_disk_that_is_really_full_leaves_the_last_checkpoint(small_disk, capfd):
    """Random numbers, which nothing compresses, and only the caller tells of the error."""
    megabyte = {"noise": jax.random.bits(jax.random.key(0), (2**18,))}
    folder = small_disk / "checkpoints"
    for number in range(1, 4):
        checkpoints.save(folder, megabyte, {"number": number})
    with pytest.raises(
        OSError, match="checkpoint 4 could not be written: No space left on device$"
    ):
        checkpoints.save(folder, megabyte, {"number": 4})
    assert names(folder)[:3] == ["00000001", "00000002", "00000003"]
    assert load(folder) == ({"number": 3}, [])
    assert capfd.readouterr().err == ""


def test_what_a_killed_process_left_half_written_is_no_checkpoint(folder):
    partial = folder / "00000004.partial"
    shutil.copytree(folder / "00000003", partial)
    (partial / "manifest.json").write_text(json.dumps({}))
    assert load(folder) == ({"number": 3}, [])
    checkpoints.save(folder, TREES, {"number": 4})
    assert names(folder) == ["00000002", "00000003", "00000004"]
