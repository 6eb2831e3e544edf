"""What a run is said to need is what its compiled step needs, and what is too large is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

import gajax
from experiments import gemonn, mnist_ga
from experiments.autoencoder import layerwise, methods, training
from experiments.datasets.catalog import load
from experiments.front import methods as front_methods
from experiments.front import networks
from experiments.front import training as front_training
from experiments.running import memory
from experiments.running.cli import InputError
from gajax import programs

HEAVY = pytest.mark.heavy
KEY = jax.eval_shape(lambda: jax.random.key(0))
IMAGES = 300
EXAMPLES = {
    "images": jax.ShapeDtypeStruct((IMAGES, 784), jnp.uint8),
    "labels": jax.ShapeDtypeStruct((IMAGES,), jnp.int32),
}
FRONT = gemonn.check(gemonn.Config(method="gemonn", hidden=(100,), population_size=20))
NETWORK = networks.make("autoencoder", (100,), (28, 28, 1), 10)
TRAINING = mnist_ga.check(mnist_ga.Config(layers=(784, 100), population_size=20, batch_size=100))


def compiled_bytes(algorithm, individual, individuals, data):
    """What XLA says that the largest stage takes: its arguments, and all that is in between."""
    population = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((individuals, *leaf.shape), leaf.dtype), individual
    )
    state = jax.eval_shape(algorithm.init, KEY, population, data)
    plan = algorithm.stages(individuals, gajax.evaluation.example_count(data))
    stages = {stage.run: (index, stage) for index, stage in enumerate(plan(1))}
    needed = []
    for index, stage in stages.values():
        functions = stage.run, stage.cost
        piece = programs.piece.lower(functions, index, KEY, state, data, 1, 0, stage.turns)
        memory = piece.compile().memory_analysis()
        needed.append(memory.argument_size_in_bytes + memory.temp_size_in_bytes)
    return max(needed)


@pytest.mark.parametrize(
    "change",
    [
        {},
        pytest.param({"refine_steps": 0, "stale_parents": True}, marks=HEAVY),
        pytest.param({"optimizer": "sgd"}, marks=HEAVY),
        {"method": "nsga2"},
        {"method": "ladder", "sparse_learning_rate": 0.2, "batch_size": 100},
        pytest.param({"method": "nsga2-gradient-0"}, marks=HEAVY),
        {"final_refine_steps": 100},
    ],
    ids=str,
)
def test_estimate_for_a_front_is_near_what_is_compiled(change):
    config = replace(FRONT, **change)
    algorithm = front_methods.ALGORITHMS[config.method](config, NETWORK)
    if config.final_refine_steps:
        algorithm = front_methods.refinement(config, NETWORK)
    data = gajax.Data(EXAMPLES, KEY)
    common = algorithm, jax.eval_shape(NETWORK.init, KEY), config.population_size, data
    assert 0.8 < memory.needed(*common) / compiled_bytes(*common) < 1.6


@pytest.mark.parametrize("optimizer", [pytest.param("muon", marks=HEAVY), "adam"])
def test_estimate_for_the_genetic_algorithm_is_near_what_is_compiled(optimizer):
    config = replace(TRAINING, optimizer=optimizer)
    phase = methods.schedule(config, IMAGES)[0]
    loss_fn = layerwise.reconstruction_loss(methods.autoencoder(config), phase, "image")
    algorithm = methods.ga(config)(loss_fn, phase)
    data = gajax.Data({"inputs": EXAMPLES["images"]}, KEY, ({},))
    network = {"blocks_0": {"kernel": jax.ShapeDtypeStruct((784, 100), jnp.float32)}}
    common = algorithm, network, config.population_size, data
    assert 0.8 < memory.needed(*common) / compiled_bytes(*common) < 1.6


def test_a_run_needs_what_its_dearest_part_needs():
    def needs(**change):
        return front_methods.memory_needed(replace(FRONT, **change), NETWORK, EXAMPLES)

    assert needs(method="nsga2") < needs(refine_steps=0) < needs()
    assert needs(refine_steps=0) < needs(refine_steps=0, final_refine_steps=9)
    deep = replace(TRAINING, layers=(784, 100, 50), generations=(1, 1), whole_generations=0)
    greedy = methods.memory_needed(deep, IMAGES)
    assert greedy < methods.memory_needed(replace(deep, whole_generations=1), IMAGES)


def test_a_thousand_networks_fit_into_24_gibibytes():
    network = networks.make("autoencoder", (500,), (28, 28, 1), 10)
    config = replace(FRONT, hidden=(500,), population_size=1_000)
    needed = front_methods.memory_needed(config, network, EXAMPLES)
    assert 1_000 * 392_500 * 4 * 8 < needed < 0.9 * 24 * 2**30


def test_seeds_fit_as_often_as_memory_allows(monkeypatch):
    def fitting():
        return memory.capacity(lambda size: 10 * size, 10, "--hidden", "8")

    for here, fit in ((100, 1), (299, 1), (300, 2), (1_000, 9)):
        monkeypatch.setattr(memory, "available", lambda here=here: here)
        assert fitting().runs == fit


@pytest.mark.parametrize("module, config", [(training, TRAINING), (front_training, FRONT)])
def test_a_population_too_large_is_refused_before_it_is_drawn(module, config, monkeypatch):
    dataset = load("mnist5k")
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(InputError, match="--population-size must be at most") as error:
        module.train(replace(config, population_size=10**6), dataset=dataset)
    most = int(
        str(error.value).split("at most ")[1].split(" here, not 1000000")[0].replace(",", "")
    )
    assert module.capacity(replace(config, population_size=most), dataset).runs == 1
    with pytest.raises(InputError, match=f"not {most + 1}, which needs 1.0 GB of the 1.0 GB"):
        module.capacity(replace(config, population_size=most + 1), dataset)


@pytest.mark.parametrize("program", [mnist_ga, gemonn])
def test_a_refused_population_leaves_nothing(program, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(InputError, match="--population-size"):
        program.main(["--population-size", "1000000", "--out", str(tmp_path / "run")])
    assert not list(tmp_path.iterdir())


def test_networks_too_large_for_two_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    with pytest.raises(InputError, match="--hidden must be narrower, not 100, for which 2"):
        front_training.capacity(FRONT, load("mnist5k"))


def test_memory_is_that_of_the_device_or_of_the_machine(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 123}

    machine = memory.available()
    assert 10**8 < machine < 10**14
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert memory.available() == 123
