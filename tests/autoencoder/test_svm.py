"""The verdict on features."""

import numpy as np
import pytest
from sklearn.svm import SVC

from experiments.autoencoder.svm import (
    chosen_parameters,
    evaluate,
    fit_and_evaluate,
    fit_svm,
    predict_with_margins,
)


@pytest.fixture(scope="module")
def blobs():
    """Features [900, 4] and labels of three overlapping classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(900) % 3
    centres = np.array([[0, 0, 0, 0], [2, 0, 0, 0], [0, 2, 0, 0]])
    return centres[labels] + generator.normal(size=(900, 4)), labels


def test_given_parameters_are_used_on_all_examples(blobs):
    features, labels = blobs
    svm = fit_svm(features, labels, c=3.0, gamma=0.5)
    wanted = SVC(C=3.0, gamma=0.5 / (4 * features.var()), break_ties=True).fit(features, labels)
    assert svm.named_steps["svm"].shape_fit_ == features.shape
    np.testing.assert_array_equal(svm.predict(features), wanted.predict(features))
    assert chosen_parameters(svm, features) == {"svm_c": 3.0, "svm_gamma": 0.5}


def test_grid_is_scored_on_examples_the_fit_has_not_seen():
    generator = np.random.default_rng(1)
    features, labels = generator.normal(size=(400, 8)), generator.integers(0, 2, 400)
    # Pure noise: the wildest machine is right on what it has seen and by chance elsewhere, so a
    # grid that scored its own training examples would take it whatever the labels are.
    chosen = [fit_svm(features, np.roll(labels, shift), seed=shift) for shift in range(6)]
    wildest = [svm.get_params()["svm__C"] == 50 for svm in chosen]
    assert not all(wildest)


def test_verdict_counts_by_hand(blobs):
    features, labels = blobs
    svm = fit_svm(features, labels, c=1.0, gamma=1.0)
    verdict = evaluate(svm, features, labels)
    predicted = svm.predict(features)
    assert verdict.accuracy == np.mean(predicted == labels)
    for true in range(3):
        for said in range(3):
            count = np.sum((labels == true) & (predicted == said))
            assert verdict.confusion[true, said] == count
        assert verdict.class_error[true] == pytest.approx(
            np.mean(predicted[labels == true] != true)
        )


def test_assess_judges_every_part_but_the_fitted_one(blobs):
    features, labels = blobs
    parts = {"train": (features[:600], labels[:600]), "test": (features[600:], labels[600:])}
    svm, verdicts = fit_and_evaluate(parts, c=1.0, gamma=1.0)
    assert set(verdicts) == {"test"} and svm.named_steps["svm"].shape_fit_ == (600, 4)


def test_labels_that_are_not_0_1_2_and_those_without_training_are_counted_by_name(blobs):
    features, labels = blobs
    names = np.array([3, 5, 8])[labels]
    svm = fit_svm(features[names != 5], names[names != 5], c=1.0, gamma=1.0)
    asked = names != 8
    verdict = evaluate(svm, features[asked], names[asked])
    predicted = svm.predict(features[asked])
    assert verdict.accuracy == np.mean(predicted == names[asked]) < 0.6
    assert verdict.classes.tolist() == [3, 5, 8]
    assert verdict.confusion.sum() == asked.sum() and verdict.confusion[:, 1].sum() == 0
    assert verdict.class_error[1] == 1 and verdict.class_error[2] == 0


@pytest.mark.parametrize("rare", [1, 2])
def test_the_grid_takes_classes_of_one_or_two_examples(blobs, rare):
    features, labels = blobs
    kept = np.r_[np.flatnonzero(labels != 2)[:40], np.flatnonzero(labels == 2)[:rare]]
    assert set(fit_svm(features[kept], labels[kept]).classes_) == {0, 1, 2}


@pytest.mark.parametrize("classes", [2, 3])
def test_margin_is_zero_at_least_and_goes_with_the_prediction(blobs, classes):
    features, labels = blobs
    features, labels = features[labels < classes], labels[labels < classes]
    svm = fit_svm(features, labels, c=1.0, gamma=1.0)
    found, margin = predict_with_margins(svm, features)
    np.testing.assert_array_equal(found, svm.predict(features))
    assert np.all(margin >= 0) and margin.max() > 0.5


def test_features_that_say_nothing_are_judged_all_the_same():
    labels = np.arange(60) % 3
    svm = fit_svm(np.zeros((60, 4)), labels)
    assert evaluate(svm, np.zeros((60, 4)), labels).accuracy == pytest.approx(1 / 3)
