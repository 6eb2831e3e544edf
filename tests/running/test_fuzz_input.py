"""Command lines, configs and files of whatever words and bytes: a result, or one sentence."""

import gzip
import io
import json
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np
import pytest
from dataset_files import TRAIN_IMAGES, TRAIN_LABELS, idx_bytes
from fuzzing import damaged, fuzz
from hypothesis import example
from hypothesis import strategies as st
from made_runs import LAYERS, make_front, make_run
from PIL import Image

from experiments import gemonn, mnist_ga
from experiments.autoencoder import records, report
from experiments.autoencoder import svm as classifier
from experiments.autoencoder.methods import autoencoder
from experiments.classify import report as classify_report
from experiments.datasets import idx
from experiments.datasets import pictures as digits
from experiments.datasets.catalog import Dataset
from experiments.front import records as front_records
from experiments.front import report as front_report
from experiments.front import view
from experiments.running import cli, parsing, runs
from experiments.running import model_files as sparse_files
from experiments.running.cli import InputError

PROGRAMS = {"mnist_ga": mnist_ga, "gemonn": gemonn}
FILES = "hostile files that are read or refused"
NAMES = {name: [field.name for field in fields(PROGRAMS[name].Config)] for name in PROGRAMS}
WORDS = [
    *("", "0", "1", "2", "-1", "784", "10", "50", "0.5", "1e-3", "nan", "inf", "-inf", "None"),
    *("true", "1e999", "-1e-999", "1_0", "0x10", "٣", "-٣", "9" * 30, "9" * 400, "9" * 5_000),
    *("-", "--", "---", "=", "a b", "\n", "\x1b[31m", "\ud800", "\0", "🙂", "é" * 300, "[/red]"),
    *("ga", "adam", "gemonn", "mnist5k", "mnist", "paper", "gajax", "lenet", "mlp", ".", "~", "@x"),
]


@lru_cache
def dataset():
    images = np.zeros((5_000, 28, 28, 1), np.uint8)
    labels = np.zeros(5_000, np.int32)
    return Dataset("mnist5k", "embedded", images, labels, images[:10], labels[:10])


def check(program, config):
    """What happens to a config before anything is trained."""
    checked = program.check(config)
    program.PROGRAM.load_data(checked, dataset())
    assert program.check(checked) == checked


@st.composite
def command_lines(draw):
    """Flags of a program, some of them misspelt, and words that are values of some."""
    name = draw(st.sampled_from(list(PROGRAMS)))
    words = []
    for _ in range(draw(st.integers(1, 5))):
        flag = "--" + draw(st.sampled_from(NAMES[name]))
        flag = flag.replace("_", "-") if draw(st.booleans()) else flag
        if draw(st.integers(0, 5)) == 0:
            place = draw(st.integers(0, len(flag)))
            wrong = draw(st.sampled_from(["", "-", "no-", "x", "="]))
            flag = flag[:place] + wrong + flag[place + 1 :]
        values = draw(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=3))
        if values and draw(st.booleans()):
            flag = f"{flag}={values.pop(0)}"
        words += [flag, *values]
    return name, [word for word in words if word not in ("-h", "--help")]


def run(name, words):
    """The exit status of the part of a command that comes before any work, its sentence checked."""
    program = PROGRAMS[name]

    def main(words):
        presets = program.PRESETS
        config = parsing.parse(program.Config, words, presets=presets, program=name, description="")
        check(program, config)

    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [name, *words])
        patch.setattr("sys.stderr", said)
        status = cli.run_main(main, name)
    line = said.getvalue()
    if status:
        assert line.startswith(f"{name}: error: ") and line.count("\n") == 1, line
        assert line[:-1].isprintable() and "Traceback" not in line
    assert status == (2 if line else 0)
    return status


@fuzz(60, 3_000, counted="command lines that end as they should", line=command_lines())
def test_command_lines(line, folder):
    run(*line)


ODD = [None, True, 0, -1, 10**18, 10**400, 0.5, float("nan"), float("inf"), "", "\0"]
VALUES = st.recursive(
    st.sampled_from([*ODD, *WORDS]) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@fuzz(
    60,
    5_000,
    counted=FILES,
    name=st.sampled_from(list(PROGRAMS)),
    places=st.lists(st.integers(0, 40), max_size=3),
    values=st.lists(VALUES, min_size=3, max_size=3),
)
@example(name="gemonn", places=[NAMES["gemonn"].index("seeds")], values=[[], None, []])
def test_configs(name, places, values, folder):
    chosen = {NAMES[name][place % len(NAMES[name])] for place in places} - {"distributed"}
    path = folder / "config.json"
    path.write_text(json.dumps(dict(zip(sorted(chosen), values, strict=False))))
    program = PROGRAMS[name]
    try:
        check(program, parsing.load_config(program.Config, path, program.Config()))
    except InputError as error:
        assert str(error)


@lru_cache
def pictures():
    random = np.random.default_rng(0)
    grey = Image.fromarray(random.integers(0, 255, (20, 30), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    options = {
        "grey.png": {},
        "deep.png": {"mode": "I;16"},
        "clear.png": {"mode": "RGBA"},
        "few.png": {"mode": "P", "transparency": 3},
        "bits.png": {"mode": "1"},
        "grey.jpg": {"exif": turned},
        "colours.jpg": {"mode": "RGB", "progressive": True, "exif": turned},
        "inks.jpg": {"mode": "CMYK"},
    }
    found = {}
    for name, option in options.items():
        stream = io.BytesIO()
        image = grey.convert(option.pop("mode", "L"))
        image.save(stream, {"png": "PNG", "jpg": "JPEG"}[name[-3:]], **option)
        found[name] = stream.getvalue()
    return found


@fuzz(60, 40_000, counted=FILES, file=damaged(pictures))
def test_pictures(file, folder):
    path = folder / "picture"
    path.write_bytes(file[1])
    try:
        image = digits.read_image(path)
        assert image.ndim == 2 and image.dtype == np.uint8
        assert digits.fit_digit(image).shape == (28, 28)
        assert digits.fit_plain(path, (5, 6, 3)).shape == (5, 6, 3)
    except InputError as error:
        assert str(error)


@lru_cache
def idx_files():
    random = np.random.default_rng(0)
    plain = {
        TRAIN_IMAGES: idx_bytes(random.integers(0, 255, (3, 28, 28))),
        TRAIN_LABELS: idx_bytes(np.arange(9)),
    }
    return plain | {f"{name}.gz": gzip.compress(content) for name, content in plain.items()}


@fuzz(60, 20_000, counted=FILES, file=damaged(idx_files))
def test_idx_files(file, folder):
    name, content = file
    (folder / name).write_bytes(content)
    shape = (28, 28) if "images" in name else ()
    try:
        assert idx._read(folder / name, shape).shape[1:] == shape
    except ValueError as error:
        assert name in str(error)


def contents(make, names):
    """The files of a run directory that are to be damaged."""

    @lru_cache
    def originals():
        with TemporaryDirectory() as folder:
            make(Path(folder))
            return {name: (Path(folder) / name).read_bytes() for name in names}

    return originals


RUN = contents(make_run, ["model.safetensors", "svm.skops"])
FRONT = contents(
    make_front,
    ["population.safetensors", "population.csv", "front.csv", "metrics.csv", "summary.json"],
)


@fuzz(60, 15_000, counted=FILES, file=damaged(RUN))
def test_models_and_svms(file, folder):
    for name, content in (RUN() | dict([file])).items():
        (folder / name).write_bytes(content)
    try:
        trained, svm = report.load(folder, autoencoder(mnist_ga.Config(layers=LAYERS)))
    except InputError as error:
        assert "--run" in str(error)
        return
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.params))
    features = np.random.default_rng(0).normal(size=(5, 8))
    assert {*classifier.predict_with_margins(svm, features)[0].tolist()} <= {*range(10)}


@fuzz(60, 15_000, counted=FILES, file=damaged(FRONT), index=st.integers(0, 3))
def test_fronts_and_their_runs(file, index, folder):
    place = folder / "gemonn-0"
    place.mkdir(exist_ok=True)
    for name, content in (FRONT() | dict([file])).items():
        (place / name).write_bytes(content)
    try:
        if file[0] == "population.safetensors":
            network = sparse_files.load_network(place / file[0], index)
            assert all(np.isfinite(leaf).all() for leaf in network.values())
        else:
            assert front_report.load_front(place / "front.csv").density.size
            (record,) = front_records.read_all(folder)
            assert 0 <= record["log_hypervolume"] <= 1.001
    except InputError as error:
        assert str(error)


CLASSIFIED = {"name": "GEMONN", "density": 0.1, "kept": [0.8, 0.9], "free": [0.9, 0.95]}
POPULATION = {"generation": 3, "density": [0.1, 0.5], "loss": [0.2, None]}


@lru_cache
def objects():
    common = {"seed": 0, "cost": 10.0, "seconds": 1.0, "sequential_steps": 3}
    found = {
        "config.json": asdict(mnist_ga.Config(layers=LAYERS)),
        "gemonn/config.json": asdict(gemonn.Config(hidden=(8,))),
        "groups.json": [[0, 1], [2]],
        "populations.json": {"populations": [POPULATION, POPULATION]},
        "ga/summary.json": {"method": "ga", "activation": "tanh", "test_accuracy": 0.9, **common},
        "gemonn/summary.json": {
            **{"method": "gemonn", "dataset": "mnist5k", "rows": [CLASSIFIED, CLASSIFIED]},
            **common,
        },
    }
    return {name: json.dumps(value, default=str).encode() for name, value in found.items()}


def read_object(name, folder):
    """What the project does with such a file of a run."""
    if name == "config.json":
        check(mnist_ga, parsing.load_config(mnist_ga.Config, folder / name, mnist_ga.Config()))
    elif name == "gemonn/config.json":
        check(gemonn, parsing.load_config(gemonn.Config, folder / name, gemonn.Config()))
    elif name == "groups.json":
        assert sum(runs._groups(gemonn.Config(seeds=(3,)), 2, folder / name), []) == [0, 1, 2]
    elif name == "populations.json":
        for one in view._populations(folder / name):
            assert len(one["loss"]) == len(one["density"])
    elif name == "ga/summary.json":
        assert len(records.read_all(folder)) == 1
    else:
        for result in classify_report.read_all(folder):
            assert all(0 <= share <= 1 for share in (result.density, *result.accuracies))


@fuzz(60, 5_000, counted=FILES, file=damaged(objects))
def test_objects(file, folder):
    name, content = file
    for path in folder.glob("*/summary.json"):
        path.unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    try:
        read_object(name, folder)
    except InputError as error:
        assert str(error)
