"""The benchmark counts the operations it should."""

import jax
import pytest

import gajax
from experiments import benchmark, layerwise, networks
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
    small = {
        "NETWORKS": ((16, 8),),
        "SIDE": 64,
        "SCORED": 1_024,
        "EXAMPLES": 512,
        "FRONT_PIXELS": 16,
        "FRONT_HIDDEN": 4,
        "FRONT_POPULATION": 4,
        "FRONT_BATCH": 8,
        "POINTS": 50,
    }
    for name, value in small.items():
        monkeypatch.setattr(benchmark, name, value)
    benchmark.main(["--population-size", "2", "--repeats", "1"])
    table = capsys.readouterr().out
    assert table.count("fine-tuning") == 3 and table.count("scoring") == 1
    assert table.count("generation") == 1 and table.count("survivors") == 2
    assert table.count("%") == 7


def test_functions_are_timed_in_turns():
    calls = []
    times = benchmark.paired(
        lambda: calls.append("a") or 0, lambda: calls.append("b") or 0, repeats=3
    )
    assert calls == ["a", "b"] * 4 and len(times) == 2


def test_a_generation_stays_below_seven_populations_of_memory():
    """The compiled step of the published setting, with all that it keeps and hands on."""
    network = networks.make("autoencoder", (50,), (28, 28, 1), 10)
    size = 20
    population = gajax.init(jax.random.key(0), network.init, size, densities=gajax.graded(size))
    images = jax.numpy.zeros((256, 784), jax.numpy.uint8)
    data = gajax.Data({"images": images}, jax.random.key(1))
    algorithm = gajax.gemonn(
        network.loss_fn,
        batch_size=128,
        value_and_grad=network.value_and_grad,
        stale_parents=True,
    )
    state = gajax.start(algorithm, jax.random.key(2), population, data)
    compiled = gajax.run.lower(algorithm, jax.random.key(3), state, data).compile()
    memory = compiled.memory_analysis()
    needed = (
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )
    assert needed < 7 * sum(leaf.nbytes for leaf in jax.tree.leaves(population))
