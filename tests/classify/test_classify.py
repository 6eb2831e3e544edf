"""Classifiers on pre-trained encoders: how they learn, how one is chosen, and their table."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import check
from PIL import Image
from small_runs import few

import gajax
from experiments import gemonn
from experiments.classify import command as front_classify
from experiments.classify import figures, finetuning
from experiments.classify import report as classify_report
from experiments.datasets.catalog import load
from experiments.front import measures as fronts
from experiments.front import networks
from experiments.front import training as front_training
from experiments.running import cache
from experiments.running.cli import InputError

METHODS = ["--methods", "gemonn", "none", "descent"]
FLAGS = "--datasets mnist5k --hidden 16 --population-size 6 --batch-size 50".split()
FLAGS += "--budget 20000 --lowest-density 0.2 --refine-steps 2 --repeats 2 --quiet".split()
DENSE = ("SGD 0.1", "Adam 0.1", "Adam 0.01", "Adam 0.001")


def classify(directory, *flags, change=lambda dataset: dataset, methods=METHODS):
    """Run the command on few images, for which nothing is evolved twice: it learns no labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_training, "train", evolved)
        patch.setattr(front_classify, "load", lambda *source: change(few(load(*source))))
        patch.setattr(finetuning, "EPOCHS", 10)
        gemonn.main(["classify", *FLAGS, *methods, *flags, "--out", str(directory)])
    return directory


evolve, known = front_training.train, {}


def evolved(config, **options):
    """The results of a method, of the first time that they are asked for."""
    if config.method not in known:
        known[config.method] = evolve(config, **options)
    return known[config.method]


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    return classify(tmp_path_factory.mktemp("classify"))


@pytest.fixture(scope="module")
def setting():
    """A network, its classifier of two classes, and images that brightness tells apart."""
    network = networks.make("autoencoder", (12,), (6, 6, 1), 2)
    random = np.random.default_rng(0)
    labels = np.arange(256, dtype=np.int32) % 2
    images = random.integers(0, 100, (256, 6, 6, 1)) + 150 * labels[:, None, None, None]
    data = networks.data(images.astype(np.uint8), labels, jax.random.key(1))
    return network, finetuning.classifier(network, 36, 2), data


def test_every_encoder_starts_with_the_same_softmax_layers(setting):
    network, classifier, _ = setting
    encoders = gajax.init(jax.random.key(3), network.init, 2)
    fresh = finetuning.population(jax.random.key(2), classifier, 3)
    built = finetuning.population(jax.random.key(2), classifier, 3, encoders)
    kernels = built["softmax"]["kernel"]
    assert kernels.shape == (6, 12, 2) and jnp.std(kernels[0] - kernels[1]) > 0.1
    for part in (kernels[:3], kernels[3:]):
        np.testing.assert_array_equal(part, fresh["softmax"]["kernel"])
    for index in range(6):
        own = gajax.take(built["encoder"], index), gajax.take(encoders, index // 3)
        jax.tree.map(np.testing.assert_array_equal, *own)


@pytest.mark.parametrize("keep_zeros", [True, False])
def test_both_parts_learn_and_zeros_are_kept_where_asked(setting, keep_zeros):
    network, classifier, data = setting
    encoders = gajax.init(jax.random.key(3), network.init, 2, densities=jnp.array([0.3, 0.6]))
    start = finetuning.population(jax.random.key(2), classifier, 2, encoders)
    end = finetuning.train(classifier, start, data, keep_zeros=keep_zeros)
    before, after = (np.asarray(tree["encoder"]["blocks_0"]["kernel"]) for tree in (start, end))
    zero = before == 0
    assert 0.3 < zero.mean() < 0.8
    assert (after[zero] == 0).all() == keep_zeros
    assert (after != before)[~zero].mean() > 0.9
    assert (np.asarray(end["softmax"]["bias"]) != 0).all()
    assert (fronts.accuracies(classifier, end, data) > 0.95).all()


@pytest.mark.heavy
def test_all_there_is_stands_in_the_tables(classified):
    with (classified / "classify.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("GEMONN, zeros kept", "GEMONN", "no pre-training", *DENSE)
    found = {(row["dataset"], row["method"], row["repeat"]) for row in rows}
    assert [*dict.fromkeys(row["method"] for row in rows)] == [*names]
    assert found == {("mnist5k", name, repeat) for name in names for repeat in "01"}
    text = (classified / "classify.md").read_text()
    accuracies = [
        100 * float(row["test_accuracy"]) for row in rows if row["method"] == "no pre-training"
    ]
    cell = f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}"
    assert f"| no pre-training | {cell} |" in text
    assert "| GEMONN, published | 98.3 |" in text
    assert text.count("\n\n") == 3 and "| density | mnist5k |" in text
    with Image.open(classified / "classify.png") as image:
        assert image.size == (1600, 100 + 90 + 30 * len(names))


@pytest.mark.heavy
def test_budgets_are_alike_and_only_members_of_a_front_are_sparse(classified):
    for name in ("gemonn", "descent"):
        summary = json.loads((classified / f"mnist5k-{name}-0" / "summary.json").read_text())
        assert 15_000 < summary["cost"] <= 20_000
        for row in summary["rows"]:
            assert (row["kept"] is not None) == (row["density"] < 1) == (name == "gemonn")


@pytest.mark.heavy
def test_runs_that_are_there_are_kept(classified):
    before = {path: path.stat().st_mtime_ns for path in classified.glob("*/summary.json")}
    classify(classified, methods=["--methods", "none"])
    assert before == {path: path.stat().st_mtime_ns for path in classified.glob("*/summary.json")}
    with pytest.raises(InputError, match="--out must not hold runs with other settings"):
        classify(classified, "--repeats", "3")


@pytest.mark.heavy
def test_the_test_set_chooses_nothing(classified, tmp_path):
    def without_truth(dataset):
        return dataset._replace(test_labels=np.roll(dataset.test_labels, 1))

    classify(tmp_path, change=without_truth, methods=["--methods", "gemonn"])
    name = "mnist5k-gemonn-0/summary.json"
    (here,), (there,) = (
        json.loads((place / name).read_text())["rows"] for place in (tmp_path, classified)
    )
    for one in ("density", "validation_accuracy"):
        assert here[one] == there[one]
    assert np.mean(here["free"]) < 0.2 < np.mean(there["free"])


def test_held_out_images_are_not_learned_from_before_the_choice(tmp_path, monkeypatch):
    train, seen = finetuning.train, []

    def spy(network, classifiers, data, **options):
        seen.append((np.asarray(data.examples["images"]), gajax.size(classifiers)))
        return train(network, classifiers, data, **options)

    monkeypatch.setattr(finetuning, "train", spy)
    classify(tmp_path, methods=["--methods", "gemonn"])
    images = few(load("mnist5k")).train_images.reshape(500, -1)
    (before, members), *after = seen
    np.testing.assert_array_equal(before, images[:400])
    assert members > 1 and [size for _, size in after] == [2, 2]
    for own, _ in after:
        np.testing.assert_array_equal(own, images)


def test_seeds_are_the_pairs_where_there_are_several():
    values = {(0, 0): 0.5, (0, 1): 0.7, (1, 0): 0.8, (1, 1): 0.8}
    assert classify_report._averaged(values) == pytest.approx({0: 0.6, 1: 0.8})
    assert classify_report._averaged({(4, 0): 0.5, (4, 1): 0.7}) == {0: 0.5, 1: 0.7}


@pytest.mark.parametrize(
    "others, cell",
    [
        ((0.5, 0.51, 0.52), "+10.0 (+7.5 to +12.5)*"),
        ((0.6, 0.62, 0.61), "+0.0 (-4.3 to +4.3)"),
        ((0.5,), "-"),
    ],
)
def test_a_difference_has_a_star_where_it_holds(others, cell):
    own = (0.61, 0.6, 0.62)
    found = {
        name: {"convex": {(0, repeat): value for repeat, value in enumerate(values)}}
        for name, values in (("GEMONN", own), ("no pre-training", others))
    }
    assert classify_report._difference(found, "GEMONN", "convex") == cell


def test_no_program_outlives_its_row(tmp_path, monkeypatch):
    forgotten = []
    monkeypatch.setattr(cache, "clear_programs", lambda: forgotten.append(True))
    classify(tmp_path, methods=["--methods", "none", "gemonn"])
    assert len(forgotten) == 2


def test_the_figure_shows_what_is_near_and_writes_what_is_far(tmp_path, seen):
    means = {
        "GEMONN, zeros kept": {"convex": 0.8, "rectangles": 0.9},
        "none": {"convex": 0.75},
        "Adam": {"convex": 0.1, "rectangles": 0.92},
    }
    published = {"Adam": {"convex": 0.7, "rectangles": 0.3}, "SGD": {"convex": 0.5}}
    path = tmp_path / "classify.png"
    figures.accuracies(
        path, means, published, ["rectangles", "convex"], "none", {"none": {"convex": 0.01}}
    )
    check(path)
    rectangles, convex = seen.panels
    (bars,) = convex.collections
    np.testing.assert_allclose(bars.get_segments(), [[[0.74, 1], [0.76, 1]]])
    lines = [line for line in convex.lines if line.get_marker() == "o"]
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]
    assert places == [(0.8, 0), (0.75, 1), (0.7, 2)]
    assert [line.get_mfc() == "none" for line in lines] == [False, False, True]
    (line,) = [line for line in convex.lines if line.is_dashed()]
    assert set(line.get_xdata()) == {0.75} and len(rectangles.lines) == 2
    assert [text.get_text() for text in convex.texts] == [" ◂ ● 10%"]
    assert [text.get_text() for text in rectangles.texts] == [" ◂ ○ 30%"]


@pytest.mark.parametrize(
    "change",
    [{"rows": [{"name": "GEMONN"}]}, {"dataset": "digits"}, {"seed": 0.5}, {"rows": 3}],
)
@pytest.mark.heavy
def test_what_is_not_sound_is_refused(change, classified, tmp_path):
    path = classified / "mnist5k-none-0" / "summary.json"
    summary = json.loads(path.read_text())
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "summary.json").write_text(json.dumps({**summary, **change}))
    with pytest.raises(InputError, match="--out must hold only intact runs"):
        classify_report.write_tables(tmp_path)
