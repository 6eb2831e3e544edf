"""Runs from others: whatever stands in their files, nothing runs, hangs or grows."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from made_runs import LAYERS
from refusals import sparse_file
from safetensors.numpy import load_file, save_file
from wrong_files import SPECIAL

from experiments.autoencoder import predict
from experiments.autoencoder.config import Config
from experiments.running.cli import InputError
from experiments.running.run_directory import save_config


def test_the_run_itself_is_sound(run):
    (found,) = predict.predict(run, [run / "digit.png"])
    assert found["digit"] in range(10)


def header(length, text=b"{}"):
    return struct.pack("<Q", length) + text


MODELS = {
    "an endless header": header(2**63),
    "a header longer than the file": header(2**30, b"{" * 100),
    "a long header": header(40 * 10**6, b" " * 40 * 10**6),
    "a deep header": header(100_000, b"[" * 100_000),
    "shapes beyond the file": header(
        79, b'{"blocks_0/kernel":{"dtype":"F32","shape":[784,16],"data_offsets":[0,50176]}}  '
    ),
    "nothing": b"",
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_are_none(name, run, refuses):
    (run / "model.safetensors").write_bytes(MODELS[name])
    refuses("damaged model or SVM")


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {name: array.astype(np.float64) for name, array in arrays.items()},
        lambda arrays: {name: array * np.nan for name, array in arrays.items()},
        lambda arrays: {name: array.T.copy() for name, array in arrays.items()},
        lambda arrays: {f"{name}/x": array for name, array in arrays.items()},
        lambda arrays: arrays | {"more": np.ones(3, np.float32)},
        lambda arrays: {},
    ],
)
def test_models_of_other_arrays(change, run, refuses):
    save_file(change(load_file(run / "model.safetensors")), run / "model.safetensors")
    refuses("damaged model or SVM")


def test_a_model_whose_outputs_overflow(run, refuses):
    save_config(Config(layers=LAYERS, activation="relu"), run / "config.json")
    arrays = load_file(run / "model.safetensors")
    save_file({name: array * 1e38 for name, array in arrays.items()}, run / "model.safetensors")
    refuses("not finite")


@pytest.mark.parametrize(
    "text", ["{}", "[]", "", '{"method": "ga", "seed": 0, "cost": NaN}', "[" * 10**5]
)
def test_summaries_of_no_finished_run(text, run, refuses):
    (run / "summary.json").write_text(text)
    refuses("has a damaged summary.json")


def test_two_predictions_do_not_write_the_same_file(run):
    """The name is taken before the figure is drawn, in which another process could take it."""
    paths = [run / "digit.png", run / "copy" / "digit.png"]
    paths[1].parent.mkdir()
    shutil.copy(*paths)
    with predict._new_file(run / "out.png") as first, predict._new_file(run / "out.png") as second:
        assert (first.name, second.name) == ("out.png", "out-2.png")
    found = predict.predict(run, paths, run / "predictions")
    assert len({row["reconstruction"] for row in found}) == 2
    with pytest.raises(KeyboardInterrupt), predict._new_file(run / "cut.png"):
        raise KeyboardInterrupt
    assert not (run / "cut.png").exists()


@pytest.mark.parametrize(
    "values, part",
    [
        ({"layers": [784, *[1] * 100_000]}, "at most 1,000 values"),
        ({"layers": [784, *[1] * 500]}, "at most 100 widths"),
        ({"layers": [784, 10**12, 8]}, "at most 1,000,000"),
        ({"layers": [784, 10**6, 10**6, 8]}, "genes is too large"),
        ({"layers": [10**6, 8]}, "784 pixels"),
        ({"layers": [784, 16, 9]}, "damaged"),
        ({"layers": [784, 10**400]}, "at most 1,000,000"),
        ({"layers": []}, "--layers"),
        ({"dataset": "cifar10"}, "3072 pixels"),
        ({"method": "pca"}, "damaged"),
        ({"biases": True}, "damaged"),
        ({"population_size": 10**30}, "--population-size"),
        ({"out": "a\0b"}, "out"),
        ({"data_dir": "\ud800"}, "data_dir"),
        ({"\x1b[31m": 1}, "not a setting"),
        ({"__class__": "os.system"}, "not a setting"),
    ],
)
def test_configs(values, part, run, refuses):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | values))
    refuses(part)


FILES = ["config.json", "model.safetensors", "svm.skops", "digit.png"]


@pytest.mark.parametrize("name", FILES)
def test_files_too_large_are_not_read(name, run, refuses):
    sparse_file(run / name, 3 * 10**8)
    refuses(name if name.startswith(("config", "digit")) else "--run")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["pipe", "folder", "endless", "nothing"])
def test_files_that_are_none(name, kind, run, refuses):
    path = run / name
    path.unlink()
    SPECIAL[kind](path)
    refuses(name if name.startswith(("config", "digit")) else "--run")


def test_nothing_is_written_where_a_link_leads(run, tmp_path, refuses):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run / "predictions").symlink_to(elsewhere)
    refuses("--out")
    (run / "predictions").unlink()
    (run / "predictions").mkdir()
    (run / "predictions" / "digit.png").symlink_to(elsewhere / "new.png")
    (found,) = predict.predict(run, [run / "digit.png"])
    assert found["reconstruction"].endswith("digit-2.png") and not list(elsewhere.iterdir())


def test_names_with_markup_and_escapes_are_shown_as_text(run, monkeypatch, capsys):
    monkeypatch.chdir(run)
    Path("[").mkdir()
    for name in ("[/red].png", "\x1b[31mred.png", "\udcff.png"):
        shutil.copy("digit.png", name)
        predict.main(["--run", ".", name, "--out", "out"])
        output = capsys.readouterr().out
        assert "\x1b" not in output and ".png" in output
    with pytest.raises(InputError):
        predict.main(["--run", str(run), "missing\n.png"])
