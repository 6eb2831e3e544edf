"""The benchmark counts the operations it should."""

import jax
import pytest

from experiments import benchmark, layerwise
from gajax.models import TiedAutoencoder


@pytest.mark.parametrize("layers", [(784, 500), (784, 100, 20)])
def test_operations_are_those_the_compiler_counts(layers):
    model = TiedAutoencoder(layers)
    loss_fn = layerwise.reconstruction_loss(model, layerwise.whole_phase(layers, 1), "image")
    params = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jax.numpy.zeros(layers[0]))["params"]
    )
    batch = {"inputs": jax.ShapeDtypeStruct((128, layers[0]), jax.numpy.uint8)}
    compiled = jax.jit(jax.grad(loss_fn)).lower(params, batch, {}).compile()
    counted = compiled.cost_analysis()["flops"] / 128
    assert benchmark.training_operations(layers) == pytest.approx(counted, rel=0.03)


def test_benchmark_prints_a_share_for_every_row(capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "NETWORKS", ((16, 8),))
    monkeypatch.setattr(benchmark, "SIDE", 64)
    monkeypatch.setattr(benchmark, "SCORED", 1_024)
    monkeypatch.setattr(benchmark, "EXAMPLES", 512)
    benchmark.main(["--population-size", "2", "--repeats", "1"])
    table = capsys.readouterr().out
    assert table.count("fine-tuning") == 3 and table.count("scoring") == 1
    assert table.count("%") == 4
