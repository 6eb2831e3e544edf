"""Full disks and folders that vanish while a command writes: one sentence, nothing half written."""

import json
import shutil

import pytest
from fuzzing import scaled
from made_runs import SUMMARY, make_front, make_run
from matplotlib.figure import Figure
from refusals import MAINS
from small_disk import free_bytes, leave
from small_runs import EVOLUTION, TRAINING, few, load_few

from experiments import gemonn, mnist_ga
from experiments.autoencoder import svm_file
from experiments.autoencoder import training as autoencoder_training
from experiments.autoencoder import view as autoencoder_view
from experiments.benchmark import command as benchmark_command
from experiments.benchmark.measure import Row
from experiments.datasets import command as datasets_command
from experiments.datasets.catalog import load
from experiments.front import training as front_training
from experiments.front import view as front_view
from experiments.running import comparison, memory, parsing
from experiments.running.cli import run_main
from gajax.viewing import Page

PROGRAMS = {
    "mnist_ga": (mnist_ga, autoencoder_training, TRAINING),
    "gemonn": (gemonn, front_training, EVOLUTION),
}
MAINS = MAINS | {"datasets": datasets_command.main, "benchmark": benchmark_command.main}
PICTURE = b"picture" * 2_000
GROUPS = {
    "one seed": ([], 1),
    "seeds one by one": (["--seeds", "2"], 1),
    "seeds together": (["--seeds", "2"], 2),
}
"""Words of a run by name, with how many seeds fit in memory together."""


@pytest.fixture(autouse=True)
def plain_figures(monkeypatch):
    """Figures are not drawn but have a size."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(PICTURE))


@pytest.fixture
def run(monkeypatch, capsys):
    """`run(program, *words)` gives the exit status and the last lines that are said."""

    def of(program, *words):
        monkeypatch.setattr("sys.argv", [program, *map(str, words)])
        capsys.readouterr()
        status = run_main(MAINS[program], program)
        return status, capsys.readouterr().err

    return of


@pytest.fixture(scope="module")
def results():
    """What trainings of both experiments came to."""
    found = {}
    for name, (program, training, words) in PROGRAMS.items():
        config = parsing.parse(
            program.Config, words, presets=program.PRESETS, program=name, description=""
        )
        found[name] = training.train(config, dataset=few(load("mnist5k")))
    return found


@pytest.fixture(params=[*PROGRAMS])
def trained(request, group, results, monkeypatch):
    """The name of a program whose trainings come to an end at once, with a row of metrics."""
    name = request.param
    _, module, words = PROGRAMS[name]
    more, together = GROUPS[group]
    load_few(monkeypatch)

    def train_together(job):
        for callback in job.callbacks:
            on_row = callback[0] if name == "gemonn" else callback
            for row in results[name].rows:
                on_row(row)
        for seed in job.seeds:
            yield results[name]._replace(summary={**results[name].summary, "seed": seed})

    training = module.TRAINING._replace(
        train_together=train_together, capacity=lambda *_: memory.Capacity(together, 0)
    )
    monkeypatch.setattr(module, "TRAINING", training)
    return name, words + more


def contents(directory):
    """The files in a directory by name."""
    return {
        path.relative_to(directory).as_posix(): content(path)
        for path in directory.rglob("*")
        if path.is_file()
    }


def content(path):
    """The bytes of a file; of an SVM, which is never stored the same, those of its vectors."""
    if path.name != "svm.skops":
        return path.read_bytes()
    return svm_file.load(path, 8)[-1].support_vectors_.tobytes()


def assert_told(program, status, said, *parts):
    """One sentence, and a status that is not that of success."""
    *_, line = said.splitlines()
    assert status in (1, 2) and "Traceback" not in said
    assert line.startswith(f"{program}: error: ")
    assert not [part for part in parts if part not in line], line


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("places", [2, pytest.param(scaled(60), marks=pytest.mark.heavy)])
def test_a_disk_that_is_full_while_results_are_written(
    places, trained, run, small_disk, record_property
):
    name, words = trained
    directory, before = small_disk / "run", free_bytes(small_disk)
    assert run(name, *words, "--out", directory)[0] == 0
    whole, size = contents(directory), before - free_bytes(small_disk)
    for place in range(places):
        shutil.rmtree(directory)
        leave(small_disk, size * place // places)
        status, said = run(name, *words, "--out", directory)
        assert_told(name, status, said, "No space left on device")
        is_begun = directory.exists()
        assert ("resume with: " in said) == is_begun
        found = contents(directory) if is_begun else {}
        for path in [path for path in found if path.endswith("metrics.csv")]:
            assert whole[path].startswith(found.pop(path))
        assert found.items() <= whole.items()
        leave(small_disk, None)
        again = ["--resume", directory, "--quiet"] if is_begun else [*words, "--out", directory]
        assert run(name, *again) == (0, "")
        assert contents(directory) == whole
        record_property("count", ("full disks that a run survived", 1, 1, 0))


@pytest.mark.parametrize(
    ("group", "moment"),
    [(group, "trained") for group in GROUPS] + [(group, "saved") for group in [*GROUPS][1:]],
)
def test_a_run_directory_that_vanishes(moment, trained, run, tmp_path, monkeypatch):
    """Before the results of its first seed are written, or with them."""
    name, words = trained
    module = PROGRAMS[name][1]
    original = module.TRAINING.save

    def vanish(results, directory):
        if moment == "trained" and results.summary["seed"] == 0:
            shutil.rmtree(tmp_path / "run")
        original(results, directory)
        if moment == "saved" and results.summary["seed"] == 0:
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(module, "TRAINING", module.TRAINING._replace(save=vanish))
    status, said = run(name, *words, "--out", tmp_path / "run")
    assert_told(name, status, said, "No such file or directory", "run is gone")
    assert not (tmp_path / "run").exists()


def made(name, folder):
    """A directory of finished runs for the command."""
    runs = folder / "runs"
    if name == "mnist_ga compare":
        summary = {**SUMMARY, "method": "ga", "activation": "tanh", "test_accuracy": 0.9}
    elif name == "gemonn classify":
        row = {"name": "GEMONN", "density": 0.1, "kept": [0.8], "free": [0.9]}
        summary = {**SUMMARY, "dataset": "mnist5k", "rows": [row]}
    else:
        summary = SUMMARY
    one = runs / f"{summary['method']}-0"
    one.mkdir(parents=True)
    make_front(one)
    (one / "summary.json").write_text(json.dumps(summary))
    return runs


COMMANDS = {
    "mnist_ga predict": ["--run", "run", "run/digit.png", "--out", "disk/out"],
    "mnist_ga view": ["--run", "disk/run"],
    "mnist_ga compare": ["--rows", "ga-tanh", "--quiet", "--out", "disk/runs"],
    "gemonn export": ["--run", "runs/gemonn-0", "--best", "--to", "disk/out/x.safetensors"],
    "gemonn view": ["--run", "disk/runs/gemonn-0"],
    "gemonn compare": ["--methods", "gemonn", "--quiet", "--out", "disk/runs"],
    "gemonn classify": [
        *("--datasets", "mnist5k", "--methods", "gemonn", "--quiet", "--out", "disk/runs")
    ],
    "datasets show": ["mnist5k", "--out", "disk/x.png"],
    "benchmark": ["--out", "disk/x.json"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_is_full_while_a_command_writes(
    command, run, small_disk, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "run_all", lambda *_: None)
    monkeypatch.setattr(comparison, "run_once", lambda *_: None)
    page = Page("<html>" + "x" * 50_000)
    for view in (front_view, autoencoder_view):
        monkeypatch.setattr(view, "page", lambda _: page)
    row = Row(1, "sorting", "1,000", 0.1, None, {}, "x" * 5_000)
    monkeypatch.setattr(benchmark_command, "rows", lambda _: iter([row]))
    program, _, name = command.partition(" ")
    for place in (tmp_path, small_disk):
        made(command, place)
        (place / "run").mkdir()
        make_run(place / "run")
    before = contents(small_disk)
    words = [*name.split(), *COMMANDS[command]]
    for count in (0, 4_096):
        leave(small_disk, count)
        status, said = run(program, *words)
        if status or not count:
            assert_told(program, status, said, "No space left on device")
        leave(small_disk, None)
        found = contents(small_disk)
        assert before.items() <= found.items()
        assert not [path for path in found if "partial" in path]
        assert all(content for content in found.values())
    assert run(program, *words)[0] == 0
    assert contents(small_disk).keys() > before.keys()
