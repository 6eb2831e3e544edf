"""One network of a front goes into a file and comes back the same."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from experiments.front import export as front_export
from experiments.front import measures as fronts
from experiments.front import networks
from experiments.front import report as front_report
from experiments.running import model_files as sparse_files
from experiments.running.cli import InputError


def export(front_run, path, *options):
    front_export.main(["--run", str(front_run), "--to", str(path), *options])
    return load_file(path)


@pytest.fixture
def front(front_run):
    return front_report.load_front(front_run / "front.csv")


def stored(front_run, index):
    return sparse_files.load_network(front_run / "population.safetensors", index)


def test_dense_holds_the_network_of_that_row(front_run, front, tmp_path, capsys):
    arrays = export(front_run, tmp_path / "best.safetensors", "--best")
    best = len(front.density) - 1
    assert arrays.keys() == {"blocks_0/kernel", "blocks_0/hidden_bias"}
    for name, leaf in stored(front_run, best).items():
        np.testing.assert_array_equal(arrays[name], leaf)
    said = capsys.readouterr().out
    size = (tmp_path / "best.safetensors").stat().st_size
    for text in (f"{front.density[best]:.4g}", f"{front.train_loss[best]:.5f}", f"{size:,} bytes"):
        assert text in said


def test_sparse_holds_the_same_in_less_space(front_run, front, tmp_path):
    density = str(front.density[1])
    dense = export(front_run, tmp_path / "dense.safetensors", "--density", density)
    sparse = export(
        front_run, tmp_path / "sparse.safetensors", "--density", density, "--format", "sparse"
    )
    for name, leaf in dense.items():
        genes = np.zeros(sparse[f"{name}/shape"], np.float32)
        genes.flat[sparse[f"{name}/indices"]] = sparse[f"{name}/values"]
        np.testing.assert_array_equal(genes, leaf)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("dense", "sparse")]
    assert sizes[1] < sizes[0] / 2


def test_the_exported_network_has_the_loss_that_the_front_tells(front_run, front, tmp_path):
    import jax
    import jax.numpy as jnp

    import gajax
    from experiments.datasets.catalog import load

    arrays = export(front_run, tmp_path / "knee.safetensors", "--knee")
    params = {"blocks_0": {name.split("/")[1]: leaf[None] for name, leaf in arrays.items()}}
    network = networks.make("autoencoder", (32,), (28, 28, 1), 10)
    images = load("mnist5k").train_images[:1_000].reshape(1_000, -1)
    data = gajax.Data({"images": jnp.asarray(images)}, jax.random.key(0))
    loss = fronts.losses(network, params, data)[0]
    summary = json.loads((front_run / "summary.json").read_text())
    assert loss == pytest.approx(summary["knee_train_loss"], rel=1e-5)


@pytest.mark.parametrize("row", [0, 2])
def test_a_density_takes_the_most_accurate_network_below_it(front, row):
    between = (front.density[row] + front.density[row + 1]) / 2
    assert front_export.choose(front, density=between) == row


def test_a_density_below_the_front_is_refused(front):
    with pytest.raises(InputError, match="--density must be at least"):
        front_export.choose(front, density=front.density[0] / 2)


def test_populations_come_back_as_they_were(tmp_path):
    random = np.random.default_rng(0)
    leaf = random.normal(size=(3, 4, 5)).astype(np.float32) * (random.random((3, 4, 5)) < 0.3)
    leaf[1] = 0
    population = {
        "a": {"kernel": leaf.astype(np.float32)},
        "b": np.ones((3, 2), np.float32),
        "c": np.zeros((3, 2), np.float32),
        "d": np.float32([0, 1, 2]),
    }
    sparse_files.save_population(population, tmp_path / "p.safetensors")
    for index in range(3):
        loaded = sparse_files.load_network(tmp_path / "p.safetensors", index)
        for name, leaf in sparse_files.dense(population).items():
            np.testing.assert_array_equal(loaded[name], leaf[index], strict=True)


@pytest.mark.parametrize("damage", ["bytes", "index", "offsets", "shape", "part", "nothing"])
def test_a_damaged_population_is_refused(front_run, damage, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(front_run, run)
    path = run / "population.safetensors"
    arrays = load_file(path)
    if damage == "bytes":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "nothing":
        path.unlink()
    else:
        if damage == "index":
            arrays["blocks_0/kernel/indices"][:] = 2**31
        elif damage == "offsets":
            arrays["blocks_0/kernel/offsets"][1:] += 10**6
        elif damage == "shape":
            arrays["blocks_0/kernel/shape"][:] = 2**40
        else:
            del arrays["blocks_0/kernel/values"]
        save_file(arrays, path)
    with pytest.raises(InputError, match="--run has a damaged population.safetensors"):
        export(run, tmp_path / "out.safetensors", "--best")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_file_that_cannot_be_written_is_told(front_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--to must be a writable file"):
        export(front_run, tmp_path / "file" / "x.safetensors", "--best")
