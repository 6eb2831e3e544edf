"""Every mistake on the command line of the fronts is one sentence, and nothing is written."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from experiments import gemonn
from experiments.front import baselines, networks
from experiments.front import measures as fronts
from experiments.front.checks import MIN_BATCHES
from experiments.running import checkpoints
from experiments.running.cli import run_main

WRONG = [
    ("--population-size 1", "--population-size must be 2 or more, not 1"),
    ("--generations 0", "--generations must be 1 or more, not 0"),
    ("--batch-size 0", "--batch-size must be 1 or more, not 0"),
    ("--batch-size 5001", "--batch-size must be at most 5000, the training images, not 5001"),
    ("--budget 0", "--budget must be above 0, not 0.0"),
    ("--budget nan", "--budget must be a number or None, not 'nan'"),
    ("--learning-rate -1", "--learning-rate must be above 0, not -1.0"),
    ("--refine-steps -1", "--refine-steps must be 0 or more, not -1"),
    ("--refine-every 0", "--refine-every must be 1 or more, not 0"),
    ("--final-refine-steps -5", "--final-refine-steps must be 0 or more, not -5"),
    ("--lowest-density 0", "--lowest-density must be above 0 and at most 1, not 0.0"),
    ("--dataset digits --model lenet", "--model must be another model for images of 8 x 8 pixels"),
    ("--method ladder-lineage --budget None", "--budget must be a number for ladder-lineage"),
    ("--lineage 1", "--lineage must be from 0 to below 1, not 1.0"),
    ("--lineage 0.5 --method gemonn", "--lineage must be 0 for gemonn, not 0.5"),
    ("--lineage 0.5 --budget None", "--lineage must be 0 without a budget for ladder, not 0.5"),
    ("--lineage 0.5 --highest-density 0.1", "--highest-density must be from 0.0015, the lowest"),
    ("--lineage 0.01 --budget 1e5", "--budget must be 140,800 or more, with a lineage and a"),
    ("--rate-genes --method regrowth", "--rate-genes must be False for regrowth, not True"),
    ("--lowest-density 2", "--lowest-density must be above 0 and at most 1, not 2.0"),
    ("--hidden 500 250", "--hidden must be one positive width for autoencoder, not 500 250"),
    ("--hidden 0", "--hidden must be one positive width for autoencoder, not 0"),
    ("--model lenet --hidden 5", "--hidden must be no width for lenet, not 5"),
    ("--model mlp --hidden 5 -5", "--hidden must be positive widths, not 5 -5"),
    ("--model cnn", "--model must be one of autoencoder, deep-autoencoder, lenet, lstm, mlp"),
    ("--gradient mine", "--gradient must be one of own, paper, not 'mine'"),
    ("--optimizer lion", "--optimizer must be one of adam, rmsprop, sgd, not 'lion'"),
    ("--precision half", "--precision must be one of float32, bfloat16, not 'half'"),
    ("--preset ours", "--preset must be one of gajax, paper, not 'ours'"),
    ("--validation 2501", "--validation must be at most 2500, half of the images, not 2501"),
    ("--seed -1", "--seed must be 0 or more, not -1"),
    ("--seed 4294967296", "--seed must be below 4294967296, not 4294967296"),
    ("--seeds 0", "--seeds must be from 1 to 1,000, or a list of seeds, not 0"),
    ("--seeds 4 7 4", "--seeds must be a list without duplicates, not 4 7 4"),
    ("--seeds 4 -7", "--seeds must be a list of seeds of 0 or more, not 4 -7"),
    ("compare --seeds 0", "--seeds must be from 1 to 1,000, or a list of seeds, not 0"),
    ("--data-dir x", "--data-dir x does not apply to --dataset mnist5k"),
    ("--dataset mnist --data-dir nowhere", "--data-dir"),
    ("--front", "--front is not a flag"),
    ("evolve", "the first argument must be export or compare or classify or view or a flag"),
    ("compare --methods ga", "--methods must be one or more of ladder, ladder-no-mixing,"),
    ("compare --seeds", "--seeds must be one or more whole numbers"),
    ("compare --preset paper --methods nsga2", "--budget must be given unless"),
    ("classify --model lenet", "--model must be autoencoder or deep-autoencoder to classify"),
    ("classify --repeats 0", "--repeats must be 1 or more, not 0"),
    ("classify --learning-rate 0", "--learning-rate must be above 0, not 0.0"),
    ("classify --methods ga", "--methods must be one or more of none, ladder, ladder-no-mixing,"),
    ("classify --datasets nowhere", "--datasets must be one or more of mnist5k"),
    ("classify --dry-run", "--dry-run must be left out of classify"),
    ("classify --plot", "--plot must be left out of classify"),
    ("classify --validation 501 --datasets rectangles", "--validation must be at most 500"),
    ("classify --datasets rectangles --batch-size 801", "--batch-size must be at most 800"),
    ("export", "the following arguments are required: --run, --to"),
    ("export --run nowhere --best --to x.safetensors", "--run must be the directory of a finished"),
    ("export --run nowhere --to x.safetensors", "one of the arguments --density --knee --best"),
    ("export --run . --best --knee --to x.safetensors", "not allowed with argument"),
    ("export --run . --best --to x.npz", "--to must be a file named *.safetensors, not x.npz"),
    ("export --run . --density x --to x.safetensors", "argument --density: invalid float"),
    ("export --run . --best --to x.safetensors --format csr", "argument --format: invalid choice"),
]


@pytest.mark.parametrize("arguments, sentence", WRONG)
def test_a_mistake_is_told_in_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["gemonn", *arguments.split()])
    assert run_main(gemonn.main, "gemonn") == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1 and "Traceback" not in output.err
    assert sentence in output.err
    assert not list(tmp_path.iterdir())


def test_a_directory_in_use_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("kept")
    monkeypatch.setattr("sys.argv", ["gemonn", "--out", str(tmp_path)])
    assert run_main(gemonn.main, "gemonn") == 2
    assert "--out must be a new or an empty directory" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"


def dies(arguments, directory, monkeypatch, capsys):
    """The line on stderr and the generations of the metrics of a run that must lose everybody."""
    options = f"--hidden 8 --population-size 4 --budget 2e4 --batch-size 50 --out {directory}"
    monkeypatch.setattr("sys.argv", ["gemonn", "--quiet", *arguments.split(), *options.split()])
    assert run_main(gemonn.main, "gemonn") == 2
    assert {path.name for path in directory.iterdir()} >= {"config.json", "metrics.csv"}
    with (directory / "metrics.csv").open() as file:
        rows = [(int(row["generation"]), int(row["failed"])) for row in csv.DictReader(file)]
    return capsys.readouterr().err, rows


SENTENCE = "gemonn: error: --learning-rate must be lower than 0.06, at which no loss was finite in "


@pytest.mark.parametrize("method", ["ladder", "gemonn", "descent", "pruning"])
def test_an_evolution_in_which_all_die_stops_there(method, tmp_path, monkeypatch, capsys):
    def broken(*kind):
        network = made(*kind)

        def loss_fn(params, batch):
            return network.loss_fn(params, batch) + jnp.nan

        return network._replace(loss_fn=loss_fn, value_and_grad=jax.value_and_grad(loss_fn))

    made = networks.make
    monkeypatch.setattr(networks, "make", broken)
    line, rows = dies(f"--method {method}", tmp_path, monkeypatch, capsys)
    ends = {"ladder": (1, 4), "gemonn": (0, 4), "descent": (1, 6), "pruning": (1, 13)}
    rate = {"ladder": "0.04", "pruning": "0.001"}.get(method, "0.06")
    generation, size = ends[method]
    saved = f"the state is saved in {tmp_path}/checkpoints"
    sentence = SENTENCE.replace("0.06", rate)
    assert line == sentence + f"generation {generation} of phase evolution; {saved}\n"
    assert rows == [(generation, size)]
    assert checkpoints.load(tmp_path / "checkpoints", pytest.fail)


def test_an_evolution_whose_end_has_no_loss_on_the_whole_set_is_told(tmp_path, monkeypatch, capsys):
    def lost(network, population, data):
        return np.full(gajax.size(population), np.nan)

    monkeypatch.setattr(fronts, "losses", lost)
    line, rows = dies("--method gemonn --generations 1", tmp_path, monkeypatch, capsys)
    assert line == SENTENCE + "generation 1 of phase evolution\n"
    assert rows == [(0, 0), (1, 0)]


def test_rivals_are_refused_below_the_batches_that_their_stages_need():
    for method, schedule in (("pruning", baselines.PRUNING), ("regrowth", baselines.REGROWTH)):
        assert MIN_BATCHES[method] == baselines.FEWEST * len(schedule)
