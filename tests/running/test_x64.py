"""Under `jax_enable_x64` the experiments run to their end: losses in float64, genes in float32."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from safetensors.numpy import load_file
from small_runs import EVOLUTION, TRAINING, content, few, make_small

from experiments import gemonn, mnist_ga
from experiments.autoencoder import report as autoencoder_report
from experiments.autoencoder.model import TiedAutoencoder
from experiments.classify import command as classify
from experiments.classify import finetuning
from experiments.datasets.catalog import load
from experiments.front import networks, report
from experiments.running.checkpoint_manager import CheckpointManager

ROOT = Path(__file__).parents[2]
HEAVY = pytest.mark.heavy
HIDDEN = {
    "autoencoder": (8,),
    "deep-autoencoder": (8, 4),
    "lenet": (),
    "lstm": (8,),
    "mlp": (9,),
}
RUNS = {
    "gemonn": (gemonn.main, [*EVOLUTION, "--validation", "50"]),
    "mnist_ga": (mnist_ga.main, TRAINING),
}
COMPARED = {
    gemonn: "--hidden 8 --population-size 4 --batch-size 50 --refine-steps 2 --budget 4000 "
    "--methods gemonn descent",
    mnist_ga: "--layers 784 8 --population-size 4 --generations 1 --whole-generations 0 --svm-c 5 "
    "--svm-gamma 1 --rows ga-relu sgd-tanh pca --budgets cost",
}


@pytest.fixture(autouse=True, scope="module")
def enabled():
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.setattr(classify, "load", lambda *source: few(load(*source)))
        for module in (report, autoencoder_report):
            patch.setattr(module, "_draw", lambda *_: None)
        jax.config.update("jax_enable_x64", True)
        yield
        jax.config.update("jax_enable_x64", False)


def types(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


def genes_of(directory):
    """The types of the genes in all files below a directory."""
    (path,) = directory.glob("*.safetensors")
    parts = "indices", "offsets", "shape"
    arrays = load_file(path).items()
    return {str(array.dtype) for name, array in arrays if not name.endswith(parts)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*HIDDEN, "classifier"])
def test_genes_and_gradients_stay_float32(name, precision):
    shape = (28, 28, 1)
    model = name if name in HIDDEN else "autoencoder"
    network = networks.make(model, HIDDEN[model], shape, 10, precision)
    if name == "classifier":
        network = finetuning.classifier(network, 784, 10)
    batch = {
        "images": jax.ShapeDtypeStruct((5, 784), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((5,), jnp.int32),
    }
    params = jax.eval_shape(network.init, jax.random.key(0))
    loss, gradients = jax.eval_shape(network.value_and_grad, params, batch)
    assert types(params) == types(gradients) == types(loss) == {jnp.dtype("float32")}


def test_layers_with_biases_stay_float32():
    model = TiedAutoencoder((784, 8), biases=True)
    assert types(jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(784))) == {
        jnp.dtype("float32")
    }


@HEAVY
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_comes_to_the_same_end(name, tmp_path, monkeypatch):
    main, arguments = RUNS[name]
    arguments = [*arguments, "--seeds", "1", "4"]
    main([*arguments, "--out", str(tmp_path / "whole")])
    original, steps = CheckpointManager.step, []

    def step(manager, ended, collect):
        original(manager, ended, collect)
        steps.append(ended)
        if len(steps) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointManager, "step", step)
    with pytest.raises(KeyboardInterrupt):
        main([*arguments, "--checkpoint-every", "0m", "--out", str(tmp_path / "cut")])
    main(["--resume", str(tmp_path / "cut"), "--checkpoint-every", "2m", "--quiet"])
    for seed in ("seed-1", "seed-4"):
        assert content(tmp_path / "cut" / seed) == content(tmp_path / "whole" / seed)
        assert genes_of(tmp_path / "cut" / seed) == {"float32"}


@HEAVY
@pytest.mark.parametrize("module", COMPARED)
def test_comparisons_run(module, tmp_path, capsys):
    module.main(["compare", *COMPARED[module].split(), "--quiet", "--out", str(tmp_path)])
    table = (tmp_path / "compare.csv").read_text()
    assert "nan" not in table and table.count("\n") >= 4


@HEAVY
def test_classifiers_and_exports_run(tmp_path):
    flags = "--datasets mnist5k --methods gemonn --hidden 8 --population-size 4 --batch-size 50"
    flags += " --budget 4000 --refine-steps 2 --repeats 1 --quiet --out"
    gemonn.main(["classify", *flags.split(), str(tmp_path / "classified")])
    assert (tmp_path / "classified" / "classify.csv").read_text().count("\n") > 1


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (
            "gemonn --method descent --hidden 8 --batch-size 50 --budget 6000",
            "export --knee --to knee.safetensors",
        ),
        pytest.param(
            "mnist_ga --layers 784 8 --population-size 4 --whole-generations 0 --svm-c 5 "
            "--svm-gamma 1",
            "predict --json digit.png",
            marks=HEAVY,
        ),
    ],
)
def test_a_run_is_read_with_and_without_it(line, command, run, monkeypatch, capsys):
    """The variable of the environment is heeded in a process of its own."""
    monkeypatch.chdir(run)  # a folder with a picture
    words = [sys.executable, "-m", *f"experiments.{line} --quiet --out real".split()]
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert genes_of(run / "real") == {"float32"}
    main, _ = RUNS[line.split()[0]]
    printed = []
    for enabled in (True, False):
        jax.config.update("jax_enable_x64", enabled)
        main([*command.split(), "--run", "real"])
        text = capsys.readouterr().out
        if "--json" in command:
            (row,) = json.loads(text)
            text = row["digit"], round(row["margin"], 3)
        printed.append(text)
    jax.config.update("jax_enable_x64", True)
    assert printed[0] == printed[1]
