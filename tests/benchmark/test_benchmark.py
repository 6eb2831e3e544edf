"""The benchmark measures every row beside its floor and its rivals, and can do without these."""

import json
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import gajax
from experiments.autoencoder import layerwise
from experiments.autoencoder.model import TiedAutoencoder
from experiments.benchmark import command as benchmark
from experiments.benchmark import compiling, fits
from experiments.benchmark import evolution as benchmark_evolution
from experiments.benchmark import growth as benchmark_growth
from experiments.benchmark import measure as benchmark_measure
from experiments.benchmark import saving as benchmark_saving
from experiments.benchmark import training as benchmark_training
from experiments.front import networks
from experiments.running.cli import InputError

TINY = benchmark_measure.Sizes(
    product=64,
    population=2,
    trained=256,
    scored=2_500,
    layers=(16, 8, 4),
    batches=(32,),
    front=4,
    front_batch=8,
    points=(50,),
    points_of_three=(20,),
    ga=(20, 30),
    individuals=(4,),
    genes_each=100,
    genes=(100,),
    individuals_each=4,
    fitted=120,
    cache=0,
)
FRONTS = {"fronts": (3,), "front_hidden": 8, "front_generations": 2, "regrown": 60}
ROWS = {1: 1, 2: 2, 3: 1, 4: 3, 5: 6, 6: 1, 7: 4}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(benchmark_measure, "QUICK", TINY)


@pytest.fixture
def no_rivals(monkeypatch):
    monkeypatch.delattr("experiments.benchmark.pytorch", raising=False)
    modules = (
        "experiments.benchmark.pytorch",
        "evosax.algorithms",
        "pymoo.core.population",
        "moocore",
    )
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def descent_for_evolution(monkeypatch):
    """Stands in for the algorithms, which take seconds to compile."""

    def descent(loss_fn, *, batch_size, **_):
        return gajax.descent(loss_fn, optimizer=optax.sgd(0.1), batch_size=batch_size)

    monkeypatch.setattr(gajax, "gemonn", descent)
    monkeypatch.setattr(gajax, "ga", descent)


def test_every_row_is_measured_where_there_is_no_rival(
    no_rivals, descent_for_evolution, tmp_path, capsys
):
    path = tmp_path / "figures.json"
    benchmark.main(["--quick", "--markdown", "--only", *"1234567", "--out", str(path)])
    rows = json.loads(path.read_text())
    numbers = [row["row"] for row in rows]
    assert {number: numbers.count(number) for number in numbers} == ROWS
    assert all(row["seconds"] > 0 and row["device"] and not row["rivals"] for row in rows)
    assert all((row["floor_seconds"] is None) == (row["row"] in (1, 7)) for row in rows)
    for name, count in {"torch": 3, "pymoo": 3, "moocore": 3, "evosax": 1}.items():
        assert sum(f"{name} not installed" in row["note"] for row in rows) == count
    output = capsys.readouterr()
    assert output.out.count("\n| ") == 2 + len(rows) and output.out.count("%") == 13
    assert all(f"row {number}, " in output.err for number in ROWS)


def test_a_checkpoint_of_each_experiment_is_measured():
    found = list(benchmark_saving.checkpoints_of_experiments(TINY, 1))
    assert [row.name for row in found] == ["checkpoint of gemonn", "checkpoint of mnist_ga"]
    assert all(row.row == 8 and 0 < row.seconds for row in found)


@pytest.mark.heavy
def test_the_first_generation_of_each_algorithm_is_compiled_anew(
    descent_for_evolution, monkeypatch
):
    traces, make = [], compiling.networks.make

    def traced(*kind):
        network = make(*kind)

        def loss_fn(*arguments):
            traces.append(None)
            return network.loss_fn(*arguments)

        return network._replace(loss_fn=loss_fn)

    def measured(repeats):
        traces.clear()
        rows = list(compiling.first_generations(TINY, repeats))
        return rows, len(traces)

    monkeypatch.setattr(compiling, "NETWORKS", compiling.NETWORKS[:1])
    monkeypatch.setattr(compiling.networks, "make", traced)
    (rows, once), (_, twice) = measured(1), measured(2)
    names = [f"first generation of {name}" for name in ("ga", "gemonn", "descent")]
    assert [row.name for row in rows] == names and {row.row for row in rows} == {9}
    looks = 2 * 2  # at the shapes of the loss and its gradient, which are remembered
    assert twice - once == once - looks >= 2 * len(rows)  # each algorithm and its floor
    assert all(float(row.note.split()[0]) > 0 for row in rows)


def test_estimators_are_fitted_anew_and_again(monkeypatch, tmp_path):
    monkeypatch.setattr(fits, "METHODS", ["pruning"])
    path = tmp_path / "figures.json"
    benchmark.main(["--quick", "--only", "estimators", "--out", str(path)])
    first, second = json.loads(path.read_text())
    assert (first["name"], second["name"]) == ("first fit by pruning", "second fit by pruning")
    assert first["row"] == 10 and first["size"] == "120 images"
    assert first["seconds"] > 2 * second["seconds"] > 0, "nothing is compiled again"
    assert first["note"] == second["note"] and float(first["note"].split()[1]) > 0.5
    assert [*first["rivals"]] == ["scikit-learn MLP"]


@pytest.mark.heavy
def test_fronts_are_measured_beside_one_network(tmp_path, monkeypatch):
    path = tmp_path / "figures.json"
    monkeypatch.setattr(benchmark_measure, "QUICK", TINY._replace(**FRONTS))
    benchmark.main(["--quick", "--only", "fronts", "--out", str(path)])
    (row,) = json.loads(path.read_text())
    assert (row["row"], row["name"], row["size"]) == (11, "front", "3 networks, 44 steps")
    (rival,) = row["rivals"]
    assert rival.startswith("one network, 60 batches, log hypervolume 0.")
    assert row["rivals"][rival] > 0 < row["seconds"] and row["note"].startswith("log hyper")


def test_only_the_rows_asked_for_stand_beside_their_rivals(tmp_path, capsys):
    pytest.importorskip("pymoo")
    path = tmp_path / "figures.json"
    benchmark.main(["--quick", "--only", "sorting", "1", "--repeats", "2", "--out", str(path)])
    rows = json.loads(path.read_text())
    assert [row["row"] for row in rows] == [1] + [5] * 6
    assert [list(row["rivals"]) for row in rows[1:]] == [["pymoo"], ["moocore"]] * 3
    assert "GFLOP/s" in rows[0]["note"]
    assert "pymoo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--only", "12"], ["--only", "sort"], ["--repeats", "0"], ["--out", "no/such/x"]]
)
def test_mistakes_are_told_before_anything_is_measured(arguments, monkeypatch):
    monkeypatch.setattr(benchmark, "rows", lambda config: pytest.fail("measured"))
    with pytest.raises(InputError, match=arguments[0]):
        benchmark.main(arguments)


def test_help_needs_no_heavy_import():
    code = (
        "import sys, experiments.benchmark.command; assert not {'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_functions_are_timed_in_turns():
    calls = []
    times = benchmark_measure.interleaved(
        lambda: calls.append("a") or 0, lambda: calls.append("b") or 0, repeats=3
    )
    assert calls == ["a", "b"] * 4 and len(times) == 2


def test_a_row_tells_floor_share_rivals_and_memory():
    row = benchmark_measure.Row(4, "a", "b", 0.2, 0.05, {"rival": 0.3}, "note", 1_500_000)
    lines = "rival 300 ms, x 1.50", "peak 1.5 MB", "note"
    assert benchmark.cells(row) == ("4", "a", "b", "200", "50.0", "25%", "\n".join(lines))


@pytest.mark.parametrize("layers", [(784, 500), (784, 100, 20)])
def test_operations_are_those_the_compiler_counts(layers):
    model = TiedAutoencoder(layers)
    loss_fn = layerwise.reconstruction_loss(model, layerwise.whole_phase(layers, 1, 1), "image")
    params = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jax.numpy.zeros(layers[0]))["params"]
    )
    batch = {"inputs": jax.ShapeDtypeStruct((128, layers[0]), jax.numpy.uint8)}
    compiled = jax.jit(jax.grad(loss_fn)).lower(params, batch, {}).compile()
    counted = compiled.cost_analysis()["flops"] / 128
    assert benchmark_measure.training_operations(layers) == pytest.approx(counted, rel=0.03)


@pytest.mark.parametrize("rival", ["torch loop", "torch vmap"])
def test_torch_trains_and_scores_as_we_do(rival):
    pytest.importorskip("torch")
    task = benchmark_training.task((16, 8), 3, 2_048)
    *_, ours = benchmark_training.trainer(task, 64)()
    theirs = benchmark_training.torch_trainers(task, 64)[rival]()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    ours = benchmark_training.scorer(task)()
    np.testing.assert_allclose(ours, benchmark_training.torch_scorers(task)[rival](), rtol=1e-5)


@pytest.mark.parametrize("program", ["gajax", "evosax"])
def test_children_mix_two_parents_of_the_better_half(program, monkeypatch):
    monkeypatch.setattr(benchmark_evolution, "STANDARD_DEVIATION", 0.0)
    losses, genes = jax.random.uniform(jax.random.key(9), (20,)), 200
    if program == "gajax":
        children, _ = benchmark_evolution.generation(losses, genes)()
    else:
        pytest.importorskip("evosax")
        children = benchmark_evolution.evosax_generation(losses, genes)["evosax"]().population
    initial = jax.random.normal(jax.random.key(4), (20, genes))
    elite = initial[jax.numpy.argsort(losses)[:10]]
    owners = np.asarray(children[:, None] == elite)  # [child, parent, gene]
    assert owners.any(axis=1).all()
    shares = np.sort(owners.mean(axis=2))
    assert (shares[:, :-2] == 0).all() and shares.shape == (20, 10)
    mixed = shares[:, -1] < 1
    assert mixed.sum() > 10 and (shares[mixed, -2] > 0.35).all()


@pytest.mark.parametrize("program", ["gajax", "evosax"])
def test_every_gene_gets_noise_of_the_standard_deviation(program, monkeypatch):
    losses, genes = jax.random.uniform(jax.random.key(9), (20,)), 500

    def children(deviation):
        monkeypatch.setattr(benchmark_evolution, "STANDARD_DEVIATION", deviation)
        if program == "gajax":
            return benchmark_evolution.generation(losses, genes)()[0]
        pytest.importorskip("evosax")
        return benchmark_evolution.evosax_generation(losses, genes)["evosax"]().population

    noise = np.asarray(children(0.1) - children(0.0))
    assert (noise != 0).mean() > 0.999 and np.std(noise) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize(("name", "steps"), [("GEMONN", 1), ("GA", 2)])
def test_generations_grow_by_whole_populations(name, steps):
    row = benchmark_growth.generation(name, steps, 6, 2_000, 1)
    assert row.size == "6 x 2,000 genes" and row.floor_seconds is None
    assert 2 < row.peak_bytes / (6 * 2_000 * 4) < 10


def test_exponents_are_fitted_to_what_outgrows_the_cache(monkeypatch):
    def generation(name, steps, individuals, genes, repeats):
        large = individuals * genes > 1_000
        seconds, peak = (genes * individuals**1.5, individuals**2) if large else (1.0, 1)
        return benchmark_measure.Row(7, name, "", seconds, None, {}, peak_bytes=peak)

    monkeypatch.setattr(benchmark_growth, "generation", generation)
    sizes = TINY._replace(individuals=(1, 20, 40, 80), genes_each=100, genes=(9,), cache=4_000)
    notes = [row.note for row in benchmark_growth.scaling(sizes, 1)]
    assert notes == 2 * ["", "", "", "time as P^1.50, memory as P^2.00", ""]


def test_a_generation_stays_below_seven_populations_of_memory():
    """The compiled step of the published setting, with all that it keeps and hands on."""
    network = networks.make("autoencoder", (50,), (28, 28, 1), 10)
    size = 20
    densities = gajax.linear_densities(size)
    population = gajax.init(jax.random.key(0), network.init, size, densities=densities)
    images = jax.numpy.zeros((256, 784), jax.numpy.uint8)
    data = gajax.Data({"images": images}, jax.random.key(1))
    algorithm = gajax.gemonn(
        network.loss_fn,
        batch_size=128,
        value_and_grad=network.value_and_grad,
        stale_parents=True,
    )
    state = gajax.start(algorithm, jax.random.key(2), population, data)
    stages = algorithm.stages(size, len(images))(1)
    compiled = gajax.run_generations.lower(stages, jax.random.key(3), state, data, 1).compile()
    needed = benchmark_growth.peak_bytes(compiled)
    assert needed < 7 * sum(leaf.nbytes for leaf in jax.tree.leaves(population))
