"""SVM files from others: whatever stands in them, nothing runs, hangs or grows."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from made_runs import make_svm
from quick_skops import skops
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from experiments.autoencoder import svm as classifier
from experiments.autoencoder import svm_file

MEGABYTES = 10**6


@pytest.fixture(scope="module")
def svm():
    return make_svm()


def pipeline_of(svm, **attributes):
    """The SVM with other attributes."""
    made = Pipeline([("svm", classifier.make_svm(1.0, 1.0).named_steps["svm"])])
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
    "coefficients that overflow": lambda svc: {"_dual_coef_": svc._dual_coef_ * 1e307},
    "intercepts that overflow": lambda svc: {"_intercept_": svc._intercept_ * 0 + 1e308},
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
    "an array of a terabyte": (claiming, "array of the announced size"),
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
    refuses("is compressed")


@pytest.mark.parametrize("damage", [b"", b"PK", b"\0" * 100, b"PK\5\6" + bytes(18)])
def test_no_archive(damage, run, refuses):
    (run / "svm.skops").write_bytes(damage)
    refuses("damaged model or SVM")
