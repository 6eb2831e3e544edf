"""The estimators keep scikit-learn's rules, compile once, and keep the network they promise."""

import importlib
import pickle
import sys

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gajax import dense, programs
from gajax.estimator import EvolvedClassifier, EvolvedRegressor

SMALL = {"hidden": (8,), "population_size": 4, "learning_rate": 0.02, "batch_size": 8}
SMALL["random_state"] = 0
PRUNED = {**SMALL, "hidden": (), "method": "pruning", "density": 0.8}
METHODS = ["ga", "gemonn", "pruning"]
LABELS = np.array(["left", "right"])

draws = np.random.RandomState(0)
INPUTS = draws.normal(size=(120, 4))
IS_RIGHT = INPUTS[:, 0] > np.abs(INPUTS[:, 1])
TARGETS = 1e6 + 1e3 * INPUTS[:, 0] * INPUTS[:, 1]


@pytest.fixture(scope="module", params=METHODS)
def fitted(request):
    """A classifier by each method."""
    classifier = EvolvedClassifier(method=request.param, epochs=12, density=0.4, **SMALL)
    return classifier.fit(INPUTS, LABELS[IS_RIGHT.astype(int)])


def program_counts():
    """How many programs there are of each kind."""
    return (
        programs.run_generations._cache_size(),
        programs.start._cache_size(),
        programs.piece._cache_size(),
    )


@parametrize_with_checks(
    [
        # The fewest programs, and the smallest: most checks have another size of the data.
        EvolvedClassifier(epochs=20, **PRUNED),
        EvolvedRegressor(epochs=20, **PRUNED),
    ]
)
def test_scikit_learn_rules(estimator, check):
    check(estimator)


def test_network_attributes(fitted):
    network = fitted.network_
    assert [layer["kernel"].shape for layer in network] == [(4, 8), (8, 2)]
    genes = np.concatenate([leaf.ravel() for layer in network for leaf in layer.values()])
    assert fitted.density_ == np.mean(genes != 0)
    assert fitted.method == "ga" or 0.1 < fitted.density_ <= 0.4
    generations = {"ga": 1 + 12, "gemonn": 6 + 1 + 6, "pruning": 12}[fitted.method]
    assert fitted.n_iter_ == len(fitted.loss_curve_) == generations
    assert_array_equal(fitted.classes_, LABELS)
    assert fitted.n_features_in_ == 4


def test_probabilities_are_those_of_the_network(fitted):
    hidden, last = fitted.network_
    units = np.maximum(INPUTS @ hidden["kernel"] + hidden["bias"], 0)
    odds = np.exp(units @ last["kernel"] + last["bias"])
    expected = odds / odds.sum(axis=1, keepdims=True)
    assert_allclose(fitted.predict_proba(INPUTS), expected, rtol=1e-5)
    assert_array_equal(fitted.predict(INPUTS), LABELS[expected.argmax(axis=1)])
    assert fitted.score(INPUTS, LABELS[IS_RIGHT.astype(int)]) > 0.85


@pytest.mark.parametrize(("fraction", "held_out"), [(0.1, 12), (0, 120)])
def test_network_of_lowest_held_out_loss_of_all_generations(fraction, held_out):
    """The first examples in a random order are held out; without any, all count."""
    labels = (IS_RIGHT ^ (np.random.RandomState(1).uniform(size=120) < 0.2)).astype(int)
    options = {**SMALL, "learning_rate": 0.3, "validation_fraction": fraction}
    classifier = EvolvedClassifier(epochs=12, **options).fit(INPUTS, labels)
    chosen = np.random.RandomState(0).permutation(120)[:held_out]
    of_labels = classifier.predict_proba(INPUTS)[chosen, labels[chosen]]
    assert np.argmin(classifier.loss_curve_) < 12  # so not what the last generation ends with
    assert_allclose(-np.log(of_labels).mean(), min(classifier.loss_curve_), rtol=1e-4)


def test_density_is_a_limit_even_where_denser_networks_were_better():
    classifier = EvolvedClassifier(method="pruning", density=0.04, epochs=12, **SMALL)
    classifier.fit(INPUTS, IS_RIGHT)
    assert np.argmin(classifier.loss_curve_) < 7  # epochs before two thirds are denser
    assert 0 < classifier.density_ <= 0.04


def test_equal_seeds_and_copies_predict_the_same(fitted):
    again = clone(fitted).fit(INPUTS, LABELS[IS_RIGHT.astype(int)])
    restored = pickle.loads(pickle.dumps(fitted))
    expected = fitted.predict_proba(INPUTS)
    assert_array_equal(again.predict_proba(INPUTS), expected)
    assert_array_equal(restored.predict_proba(INPUTS), expected)
    other = clone(fitted).set_params(random_state=1).fit(INPUTS, LABELS[IS_RIGHT.astype(int)])
    assert np.abs(other.predict_proba(INPUTS) - expected).max() > 1e-3


def test_equal_shapes_compile_once(fitted, caplog):
    """Whatever the seed, the learning rate and the data; predictions never do."""
    other = clone(fitted).set_params(random_state=3, learning_rate=0.01)
    before = program_counts()
    with jax.log_compiles():
        other.fit(2 * INPUTS, LABELS[IS_RIGHT[::-1].astype(int)]).predict(INPUTS[:7])
    assert program_counts() == before
    assert not [line for line in caplog.messages if "ompil" in line]


def test_regression_in_any_unit():
    regressor = EvolvedRegressor(epochs=60, **SMALL).fit(INPUTS, TARGETS)
    assert regressor.score(INPUTS, TARGETS) > 0.8
    scaled = clone(regressor).fit(INPUTS, 1e-6 * TARGETS - 5)
    assert_allclose(scaled.predict(INPUTS), 1e-6 * regressor.predict(INPUTS) - 5, rtol=1e-4)


def test_several_targets_keep_their_shape():
    targets = np.stack([TARGETS, np.full(120, 7.0), -TARGETS], axis=1)
    regressor = EvolvedRegressor(epochs=60, **SMALL).fit(INPUTS, targets)
    predicted = regressor.predict(INPUTS[:5])
    assert predicted.shape == (5, 3)
    assert_allclose(predicted[:, 1], 7, atol=1)
    assert regressor.score(INPUTS, targets) > 0.5


def test_grid_search_of_a_pipeline_compiles_nothing_for_learning_rates():
    labels = LABELS[IS_RIGHT.astype(int)]
    pipeline = make_pipeline(StandardScaler(), EvolvedClassifier(epochs=12, **SMALL))
    rates = {"evolvedclassifier__learning_rate": [1e-6, 0.02]}  # the first one learns nothing
    search = GridSearchCV(pipeline, rates, cv=3, error_score="raise")
    before = programs.run_generations._cache_size()
    search.fit(INPUTS, labels)
    assert search.best_params_ == {"evolvedclassifier__learning_rate": 0.02}
    # Generation 0 and the later ones, for the size of a fold; for all examples they were there.
    assert programs.run_generations._cache_size() - before <= 4
    assert search.score(INPUTS, labels) > 0.85


def test_losses_agree_with_references():
    network = [{"kernel": np.eye(2)[None], "bias": np.array([[1.0, -1.0]])}]
    batch = {"inputs": np.array([[0.0, 0.0], [1.0, 5.0]]), "targets": np.array([0, 1])}
    logits = np.array([[1.0, -1.0], [2.0, 4.0]])
    expected = np.mean(np.log(1 + np.exp([-2.0, -2.0])))
    assert_allclose(dense.cross_entropy(network, batch), [expected])
    batch["targets"] = logits - [[1, 2], [3, 4]]
    assert_allclose(dense.squared_error(network, batch), [(1 + 4 + 9 + 16) / 4])


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("method", "sgd", "method must be one of .*, not 'sgd'"),
        ("hidden", (8, 0), r"hidden\[1\] must be 1 or more, not 0"),
        ("epochs", 0, "epochs must be 1 or more, not 0"),
        ("population_size", 1, "population_size must be 2 or more, not 1"),
        ("batch_size", 0, "batch_size must be 1 or more, not 0"),
        ("learning_rate", 0, "learning_rate must be above 0, not 0"),
        ("density", 1.5, "density must be above 0 and at most 1, not 1.5"),
        ("density", 1e-3, "density must leave one of 58 weights, not 0.001"),
        ("validation_fraction", 0.6, "validation_fraction must be from 0 to 0.5, not 0.6"),
    ],
)
def test_wrong_arguments(argument, value, sentence):
    estimator = EvolvedClassifier(**{**SMALL, "method": "pruning", argument: value})
    with pytest.raises(ValueError, match=sentence):
        estimator.fit(INPUTS, IS_RIGHT)


def test_scikit_learn_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "gajax.estimator")
    with pytest.raises(ImportError, match="pip install"):
        importlib.import_module("gajax.estimator")
