"""Runs from others: whatever stands in their files, nothing runs, hangs or grows."""

import io
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from made_runs import LAYERS, make_run, make_svm
from refusals import refused, sparse_file
from safetensors.numpy import load_file, save_file
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from experiments import classifier, predict, svm_file
from experiments.cli import InputError
from experiments.mnist_ga import Config
from experiments.run_directory import save_config

MEGABYTES = 10**6


@pytest.fixture(scope="module")
def svm():
    return make_svm()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def refuses(run, tmp_path, monkeypatch, capsys):
    """`refuses(*parts)` checks that the run is refused with all of them in the sentence."""

    def check(*parts):
        monkeypatch.chdir(tmp_path)
        arguments = ["mnist_ga", "predict", "--run", run, run / "digit.png"]
        line = refused(arguments, tmp_path, monkeypatch, capsys, most=50 * MEGABYTES)
        assert not [part for part in parts if part not in line], line

    return check


def test_the_run_itself_is_sound(run):
    (found,) = predict.predict(run, [run / "digit.png"])
    assert found["digit"] in range(10)


def pipeline_of(svm, **attributes):
    """The SVM with other attributes."""
    made = Pipeline([("svm", classifier.unfitted(1.0, 1.0).named_steps["svm"])])
    vars(made.named_steps["svm"]).update(vars(svm.named_steps["svm"]), **attributes)
    return made


def test_an_svm_comes_back_as_it_was(svm, tmp_path):
    svm_file.save(svm, tmp_path / "svm.skops")
    features = np.random.default_rng(2).normal(size=(20, 8))
    back = svm_file.load(tmp_path / "svm.skops", 8)
    np.testing.assert_array_equal(back.decision_function(features), svm.decision_function(features))
    np.testing.assert_array_equal(back.predict(features), svm.predict(features))


@pytest.mark.parametrize(
    "make, part",
    [
        (lambda svm: {"call": os.system}, "posix.system"),
        (lambda svm: DecisionTreeClassifier().fit([[0], [1]], [0, 1]), "DecisionTreeClassifier"),
        (lambda svm: Pipeline([("scaler", StandardScaler()), *svm.steps]), "StandardScaler"),
        (lambda svm: Pipeline([*svm.steps] * 2, memory={"a": np.float64}), "numpy.float64"),
        (lambda svm: {"a": np.array([{}, []], dtype=object)}, ""),
        (lambda svm: [1, 2], ""),
        (lambda svm: "text", ""),
    ],
)
def test_types_that_no_svm_consists_of(make, part, svm, run, refuses):
    skops.io.dump(make(svm), run / "svm.skops")
    refuses(part)


SVC = {
    "fewer coefficients": lambda svc: {"_dual_coef_": svc._dual_coef_[:, :1]},
    "fewer intercepts": lambda svc: {"_intercept_": svc._intercept_[:1]},
    "fewer support vectors": lambda svc: {"support_vectors_": svc.support_vectors_[:2]},
    "other features": lambda svc: {"support_vectors_": np.ones((len(svc.support_), 3))},
    "vectors of nobody": lambda svc: {"_n_support": svc._n_support * 1000},
    "vectors less than none": lambda svc: {"_n_support": svc._n_support - np.arange(10) * 100},
    "halves of vectors": lambda svc: {"_n_support": svc._n_support / 1.0},
    "too many classes": lambda svc: {"classes_": np.arange(100, dtype=np.int32)},
    "classes out of order": lambda svc: {"classes_": svc.classes_[::-1]},
    "classes of their own": lambda svc: {"classes_": svc.classes_ + 1},
    "not a number": lambda svc: {"support_vectors_": svc.support_vectors_ * np.nan},
    "a gamma in words": lambda svc: {"gamma": "scale"},
    "a gamma of zero": lambda svc: {"gamma": 0.0},
    "an infinite C": lambda svc: {"C": float("inf")},
    "a list": lambda svc: {"support_": [1, 2, 3]},
    "single precision": lambda svc: {"_dual_coef_": svc._dual_coef_.astype(np.float32)},
}


@pytest.mark.parametrize("name", SVC)
def test_arrays_that_libsvm_would_read_beyond(name, svm, run, refuses):
    skops.io.dump(pipeline_of(svm, **SVC[name](svm.named_steps["svm"])), run / "svm.skops")
    refuses("damaged model or SVM")


def test_attributes_that_stand_before_methods_are_left_out(svm, run):
    attributes = {"decision_function": [1], "kernel": "linear", "_sparse": True, "_gamma": 1e9}
    skops.io.dump(pipeline_of(svm, **attributes), run / "svm.skops")
    back = svm_file.load(run / "svm.skops", 8)
    features = np.ones((1, 8))
    np.testing.assert_array_equal(back.decision_function(features), svm.decision_function(features))


def rewrite(run, change, compression=zipfile.ZIP_STORED):
    """Write the SVM of the run anew, with `change({name: content})` for its files."""
    with zipfile.ZipFile(run / "svm.skops") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(run / "svm.skops", "w", compression) as archive:
        for name, content in change(contents).items():
            archive.writestr(name, content)


def claiming(contents):
    """One array claims a terabyte."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**37,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return contents | {next(iter(contents)): stream.getvalue() + bytes(800)}


def laughing(contents):
    """Lists of the same two lists of the same two lists, sixty times."""
    kind = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode"}
    made = kind | {"content": [], "__id__": 1}
    for number in range(2, 60):
        again = kind | {"content": [], "__id__": number - 1}
        made = kind | {"content": [made, again], "__id__": number}
    made |= {"protocol": 2, "_skops_version": "0"}
    return contents | {"schema.json": json.dumps(made)}


ARCHIVES = {
    "an array of a terabyte": (claiming, "numbers that it announces"),
    "lists of lists": (laughing, "refers to itself"),
    "deep": (lambda files: files | {"schema.json": "[" * 10**5 + "]" * 10**5}, ""),
    "a long schema": (lambda files: files | {"schema.json": " " * 2 * MEGABYTES}, "too large"),
    "no schema": (lambda files: {"x.npy": next(iter(files.values()))}, ""),
    "no object": (lambda files: files | {"schema.json": "[]"}, ""),
    "another protocol": (lambda files: files | {"schema.json": '{"protocol": -1}'}, ""),
    "a file for elsewhere": (lambda files: files | {"../../up.npy": "text"}, "magic"),
    "a pickle": (lambda files: files | {"x.npy": np.array([{}]).dumps()}, "magic"),
    "many files": (lambda files: {f"{n}.npy": b"" for n in range(3_000)}, "a few files"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(name, run, refuses):
    change, part = ARCHIVES[name]
    rewrite(run, change)
    refuses(part)


def test_an_archive_that_unpacks_hugely_is_not_unpacked(run, refuses):
    rewrite(run, lambda files: {"x.npy": bytes(200 * MEGABYTES)}, zipfile.ZIP_DEFLATED)
    assert (run / "svm.skops").stat().st_size < MEGABYTES
    refuses("unpacks to more than itself")


@pytest.mark.parametrize("damage", [b"", b"PK", b"\0" * 100, b"PK\5\6" + bytes(18)])
def test_no_archive(damage, run, refuses):
    (run / "svm.skops").write_bytes(damage)
    refuses("damaged model or SVM")


def header(length, text=b"{}"):
    return struct.pack("<Q", length) + text


MODELS = {
    "an endless header": header(2**63),
    "a header longer than the file": header(2**30, b"{" * 100),
    "a long header": header(40 * MEGABYTES, b" " * 40 * MEGABYTES),
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
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "nothing"])
def test_files_that_are_none(name, kind, run, refuses):
    path = run / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
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
