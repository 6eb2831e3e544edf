"""Fronts and comparisons from others: refused in one sentence, before anything is written."""

import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from made_runs import FRONT, SUMMARY, make_front
from refusals import refused, sparse_file
from safetensors.numpy import load_file, save, save_file
from wrong_files import SPECIAL

from experiments import gemonn
from experiments.autoencoder import training
from experiments.front import report
from experiments.front import training as front_training
from experiments.running.run_directory import save_config

MEGABYTES = 10**6


@pytest.fixture
def front(tmp_path):
    directory = tmp_path / "front"
    directory.mkdir()
    return make_front(directory)


@pytest.fixture
def refuses(front, tmp_path, monkeypatch, capsys):
    """`refuses(part)` checks that no network is exported, and that the sentence says so."""

    def check(part, choice="--best"):
        arguments = ["gemonn", "export", "--run", front, choice, "--to", tmp_path / "x.safetensors"]
        assert part in refused(arguments, tmp_path, monkeypatch, capsys, most=20 * MEGABYTES)

    return check


def test_the_front_itself_is_sound(front, tmp_path, capsys):
    to = tmp_path / "[/x] \x1b.safetensors"
    gemonn.main(["export", "--run", str(front), "--knee", "--to", str(to)])
    assert load_file(to).keys() == {"blocks_0/kernel", "bias"}
    assert "\x1b" not in capsys.readouterr().out


FRONTS = {
    "nothing": "",
    "no rows": "density,train_loss,test_loss\n",
    "no losses": "density\n0.5\n",
    "words": FRONT + "a,b,c\n",
    "fewer numbers": FRONT + "0.5\n",
    "more numbers": FRONT + "0.5" + ",1" * 100_000 + "\n",
    "a density that is none": FRONT + "nan,0.1,0.1\n",
    "a density above one": FRONT + "1.5,0.1,0.1\n",
    "a density below zero": FRONT + "-1,0.1,0.1\n",
    "a loss that is none": FRONT.replace("0.2,0.2", "nan,0.2"),
    "a loss without end": FRONT.replace("0.2,0.2", "0.2,inf"),
    "a loss below zero": FRONT.replace("0.2,0.2", "0.2,-0.1"),
    "a row twice": FRONT + FRONT.splitlines()[-1] + "\n",
    "rows in another order": "\n".join(FRONT.splitlines()[::-1][:3] + [""]),
    "a network that others dominate": FRONT.replace("0.2,0.2", "0.9,0.2"),
    "an accuracy in percent": "density,train_loss,test_loss,test_accuracy\n0.1,0.5,0.5,90\n",
    "lines without end": "density,train_loss,test_loss\n" + "\n" * 3 * MEGABYTES,
    "rows without end": "density,train_loss,test_loss\r" + "1,1,1\r" * 2 * MEGABYTES,
    "columns without end": "," * 5 * MEGABYTES,
    "a quote that never ends": FRONT + '"' + "a" * 10**6,
    "zeros": "\0" * 1_000,
    "no text": b"\xff\xfe\xfa".decode("latin-1"),
    "a long number": FRONT + "0." + "1" * 200_000 + ",1,1\n",
}


@pytest.mark.parametrize("name", FRONTS)
def test_fronts(name, front, refuses):
    (front / "front.csv").write_bytes(FRONTS[name].encode("latin-1"))
    refuses("front.csv must be a readable front", "--knee")


POPULATIONS = {
    "a header without end": struct.pack("<Q", 2**63) + b"{}",
    "a long header": struct.pack("<Q", 5 * MEGABYTES) + b" " * 5 * MEGABYTES,
    "a deep header": struct.pack("<Q", 500_000) + b'{"a":' * 100_000,
    "nothing": b"",
    "no arrays": save({}),
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_populations_that_are_none(name, front, refuses):
    (front / "population.safetensors").write_bytes(POPULATIONS[name])
    refuses("--run has a damaged population.safetensors")


LEAF = "blocks_0/kernel"
PARTS = {
    "a terabyte of zeros": {"shape": np.array([2**19, 2**19])},
    "more zeros than a number holds": {"shape": np.array([2**62] * 8)},
    "zeros that cancel": {"shape": np.array([-1, -600])},
    "no zeros": {"shape": np.array([0])},
    "many axes": {"shape": np.ones(10**5, np.int64)},
    "another shape": {"shape": np.array([20, 29])},
    "offsets below": {"offsets": np.array([0, 0, -5, -1])},
    "offsets backwards": {"offsets": np.array([0, 9, 9, 3])},
    "offsets beyond": {"offsets": np.array([0, 1, 2, 10**12])},
    "few offsets": {"offsets": np.array([0, 1])},
    "indices beyond": {"indices": np.full(1_000, 600, np.uint32), "values": np.ones(1_000, "f4")},
    "fewer indices": {"indices": np.zeros(3, np.uint32)},
    "indices of another type": {"indices": np.zeros(1_000, np.int64)},
    "values of another type": {"values": np.zeros(1_000)},
    "values that are none": {"values": np.full(1_000, np.nan, np.float32)},
    "a table of offsets": {"offsets": np.zeros((2, 2), np.int64)},
    "another part": {"more": np.zeros(1)},
    "a deep name": {"/".join("a" * 20_000) + "/shape": np.zeros(1)},
}


@pytest.mark.parametrize("name", PARTS)
def test_populations_whose_parts_do_not_fit(name, front, refuses):
    path = front / "population.safetensors"
    arrays = load_file(path) | {f"{LEAF}/{part}": array for part, array in PARTS[name].items()}
    save_file(arrays, path)
    refuses("--run has a damaged population.safetensors")


@pytest.mark.parametrize("name", ["front.csv", "population.safetensors", "summary.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "endless", "huge", "nothing"])
def test_paths_that_are_no_files(name, kind, front, refuses):
    path = front / name
    path.unlink()
    if kind != "huge" or name != "summary.json":  # of which nothing is read
        SPECIAL[kind](path)
    refuses("--run" if name != "front.csv" else name)


@pytest.fixture
def compared(front, tmp_path, monkeypatch):
    """A directory of a comparison with one run of each program."""
    for module in (training, front_training):
        monkeypatch.setattr(module, "run", lambda *rest: pytest.fail("nothing may be trained"))
    place = tmp_path / "out" / "one-0"
    place.parent.mkdir()
    front.rename(place)
    save_config(replace(gemonn.Config(), seed=0), place / "config.json")
    return place


SUMMARIES = {
    "no object": "[]",
    "nothing": "",
    "deep": "[" * 100_000,
    "long": " " * 2 * MEGABYTES,
    "no method": json.dumps({"seed": 0}),
    "another method": json.dumps(SUMMARY | {"method": "[/red]"}),
    "a list of methods": json.dumps(SUMMARY | {"method": ["ga"]}),
    "a seed in words": json.dumps(SUMMARY | {"seed": "0"}),
    "a cost in words": json.dumps(SUMMARY | {"cost": "=1+1"}),
    "a cost beyond all numbers": json.dumps(SUMMARY | {"cost": 10**400}),
    "a cost that is true": json.dumps(SUMMARY | {"cost": True}),
    "a time of lists": json.dumps(SUMMARY | {"seconds": [1]}),
}
NUMBERS = {
    "a cost below zero": json.dumps(SUMMARY | {"cost": -1}),
    "a cost that is none": json.dumps(SUMMARY | {"cost": float("nan")}),
    "a time without end": json.dumps(SUMMARY | {"seconds": float("inf")}),
    "a number that none knows and JSON lacks": json.dumps(SUMMARY | {"more": float("nan")}),
    "a seed below zero": json.dumps(SUMMARY | {"seed": -1}),
    "nothing in it": "{}",
    "a hypervolume above one": json.dumps(SUMMARY | {"log_hypervolume": 7}),
}
FRONT_SUMMARIES = {
    "no cost": json.dumps({"method": "gemonn", "seed": 0}),
    "a loss of zero": json.dumps(SUMMARY | {"zero_loss": 0}),
    "a loss without end": json.dumps(SUMMARY | {"zero_loss": float("inf")}),
    "no loss": json.dumps(SUMMARY | {"zero_loss": None}),
    "names of nobody": json.dumps(SUMMARY | {"names": ["../../x"]}),
    "a name twice": json.dumps(SUMMARY | {"names": ["SGD 0.1", "SGD 0.1"]}),
    "many names": json.dumps(SUMMARY | {"names": ["SGD 0.1"] * 10_000}),
    "names that are no list": json.dumps(SUMMARY | {"names": 5}),
}


@pytest.mark.parametrize("name", [*NUMBERS, "no object", "deep", "no method"])
def test_a_front_with_such_a_summary_is_not_finished(name, front, refuses):
    (front / "summary.json").write_text((SUMMARIES | NUMBERS)[name])
    refuses("has a damaged summary.json")


@pytest.mark.parametrize("name", ["no object", "nothing in it"])
def test_a_run_with_such_a_summary_is_not_resumed(name, front, tmp_path, monkeypatch, capsys):
    save_config(gemonn.check(gemonn.Config()), front / "config.json")
    (front / "summary.json").write_text((SUMMARIES | NUMBERS)[name])
    arguments = ["gemonn", "--resume", front]
    assert "summary.json" in refused(arguments, tmp_path, monkeypatch, capsys)


def test_individuals_that_have_diverged_belong_to_a_population(front):
    (front / "population.csv").write_text(FRONT + "1.0,inf,nan\n")
    assert len(report.load_population(front / "population.csv").density) == 4


GROUPS = {
    "other seeds": "[[0, 1], [7]]",
    "fewer seeds": "[[0, 1]]",
    "an object": "{}",
    "no groups": "[0, 1, 2]",
    "nothing": "",
    "no JSON": "\0",
    "deep": "[" * 100_000,
    "long": " " * 2 * MEGABYTES,
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_of_seeds(name, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    run.mkdir()
    save_config(gemonn.check(gemonn.Config(seeds=(3,))), run / "config.json")
    (run / "groups.json").write_text(GROUPS[name])
    line = refused(["gemonn", "--resume", run], tmp_path, monkeypatch, capsys)
    assert "--resume needs an intact" in line and "groups.json" in line


@pytest.mark.parametrize("name", [*SUMMARIES, *FRONT_SUMMARIES])
def test_summaries_of_fronts(name, compared, tmp_path, monkeypatch, capsys):
    (compared / "summary.json").write_text((SUMMARIES | FRONT_SUMMARIES)[name])
    arguments = ["gemonn", "compare", "--out", compared.parent]
    assert "--out" in refused(arguments, tmp_path, monkeypatch, capsys, most=20 * MEGABYTES)


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries(name, compared, tmp_path, monkeypatch, capsys):
    summary = SUMMARIES[name].replace("gemonn", "ga")
    (compared / "summary.json").write_text(summary)
    arguments = ["mnist_ga", "compare", "--out", compared.parent]
    assert "--out" in refused(arguments, tmp_path, monkeypatch, capsys, most=20 * MEGABYTES)


METRICS = {
    "nothing": "",
    "no cost": "sequential_steps,log_hypervolume,best_loss\n1,1,1\n",
    "words": "sequential_steps,log_hypervolume,cost,best_loss\n1,1,a,b\n",
    "a cost that is none": "sequential_steps,log_hypervolume,cost,best_loss\n1,1,nan,1\n",
    "a loss below zero": "sequential_steps,log_hypervolume,cost,best_loss\n1,1,1,-1\n",
    "another length": "sequential_steps,log_hypervolume,cost,best_loss\n1,1,1\n",
    "a field without end": 'sequential_steps,log_hypervolume,cost,best_loss\n1,1,"' + "1" * 200_000,
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name, compared, tmp_path, monkeypatch, capsys):
    (compared / "summary.json").write_text(json.dumps(SUMMARY))
    (compared / "metrics.csv").write_text(METRICS[name])
    arguments = ["gemonn", "compare", "--out", compared.parent]
    assert "--out" in refused(arguments, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json", "front.csv"])
@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_files_of_a_comparison_that_are_none(name, kind, compared, tmp_path, monkeypatch, capsys):
    (compared / "summary.json").write_text(json.dumps(SUMMARY))
    (compared / name).unlink()
    os.mkfifo(compared / name) if kind == "pipe" else sparse_file(compared / name, 3 * 10**8)
    arguments = ["gemonn", "compare", "--out", compared.parent]
    line = refused(arguments, tmp_path, monkeypatch, capsys, most=20 * MEGABYTES)
    assert "one-0" in line


@pytest.mark.parametrize("cost", ["-5", "0", "NaN", "1e999", '"1e5', "[1]", "1" + "0" * 400])
def test_a_cost_that_is_no_budget(cost, compared, tmp_path, monkeypatch, capsys):
    (compared / "summary.json").write_text('{"cost": ' + cost + "}")
    config = replace(gemonn.PRESETS["paper"], seed=0)
    save_config(gemonn.check(config), compared / "config.json")
    compared.rename(compared.parent / "gemonn-0")
    arguments = "gemonn compare --preset paper --methods nsga2 --out".split()
    line = refused([*arguments, compared.parent], tmp_path, monkeypatch, capsys)
    assert "--budget" in line or "summary.json is damaged" in line


def test_a_table_is_written_over_no_file_elsewhere(compared, tmp_path):
    from experiments.front import records

    (compared / "summary.json").write_text(json.dumps(SUMMARY))
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("compare.csv", "compare.csv.partial", "compare.md.partial"):
        (compared.parent / name).symlink_to(mine)
    records.table(compared.parent)
    assert mine.read_text() == "mine"
    assert "GEMONN,0," in (compared.parent / "compare.csv").read_text()
