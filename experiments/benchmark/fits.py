"""Benchmark of the scikit-learn estimators: a first fit, with compilation, and a second one."""

from collections.abc import Iterator
from functools import partial
from statistics import median

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

from experiments.benchmark.measure import Row, Sizes, interleaved, timed_anew
from gajax.estimator import EvolvedClassifier
from gajax.methods import METHODS


def estimators(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Fits of the digits of scikit-learn, beside its own network of the same widths.

    The note has the accuracy on a third of the images that is held out.
    """
    images, labels = load_digits(return_X_y=True)
    train_images, test_images, train_labels, test_labels = train_test_split(
        scale(images), labels, test_size=1 / 3, random_state=0
    )
    count = sizes.fitted
    train = train_images[:count], train_labels[:count]
    rival = partial(MLPClassifier((64,), random_state=0).fit, *train)
    for method in METHODS:
        classifier = EvolvedClassifier(method=method, random_state=0)
        fit = partial(classifier.fit, *train)
        first = median(timed_anew(fit)[0] for _ in range(repeats))
        second, of_rival = interleaved(fit, rival, repeats=repeats)
        accuracy = f"accuracy {classifier.score(test_images, test_labels):.3f}"
        for name, seconds in (("first", first), ("second", second)):
            rivals = {"scikit-learn MLP": of_rival}
            size = f"{len(train[0]):,} images"
            yield Row(10, f"{name} fit by {method}", size, seconds, None, rivals, accuracy)
