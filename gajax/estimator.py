"""scikit-learn estimators whose dense network is evolved or pruned.

Not part of `import gajax`, because scikit-learn is optional. Training compiles
once for equal shapes and sizes, whatever the learning rate and the seed; predictions, in NumPy, do
not compile.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gajax import dense, individual, types
from gajax.individual import Individual
from gajax.methods import METHODS
from gajax.types import Data

try:
    from scipy.special import softmax
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    message = 'gajax.estimator needs scikit-learn 1.6 or later: pip install "scikit-learn>=1.6"'
    raise ImportError(message) from error

_FEWEST = 100  # examples of which some are held out, for a handful of them ranks by chance


class _EvolvedNetwork(BaseEstimator):
    """What the classifier and the regressor share."""

    def __init__(
        self,
        hidden=(64,),
        *,
        method="ga",
        epochs=40,
        population_size=8,
        learning_rate=3e-3,
        batch_size=32,
        density=0.2,
        validation_fraction=0.1,
        random_state=None,
    ):
        self.hidden = hidden
        self.method = method
        self.epochs = epochs
        self.population_size = population_size
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.density = density
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _check_arguments(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {[*METHODS]}, not {self.method!r}")
        widths = {f"hidden[{layer}]": width for layer, width in enumerate(self.hidden)}
        types.require_at_least(1, **widths, epochs=self.epochs, batch_size=self.batch_size)
        types.require_at_least(2, population_size=self.population_size)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be above 0 and at most 1, not {self.density}")
        if not 0 <= self.validation_fraction <= 0.5:
            value = self.validation_fraction
            raise ValueError(f"validation_fraction must be from 0 to 0.5, not {value}")

    def _train(self, error: Callable[..., Any], inputs: Any, targets: Any, width: int) -> Any:
        """Keep the network of lowest held-out `error(network, batch)` that is sparse enough."""
        random = check_random_state(self.random_state)
        order, count = random.permutation(len(inputs)), 0
        if len(inputs) >= _FEWEST:
            count = int(self.validation_fraction * len(inputs))
        examples = {"inputs": inputs[order], "targets": targets[order]}
        training = jax.tree.map(lambda leaf: leaf[count:], examples)
        held_out = jax.tree.map(lambda leaf: leaf[:count], examples) if count else training

        size = self.population_size if self.method == "ga" else 1
        networks = dense.draw(random, size, (inputs.shape[1], *self.hidden, width))
        rates = np.full(size, self.learning_rate, np.float32)
        start = jax.device_put(Individual(networks, hyper={"learning_rate": rates}))
        genes = individual.genes(start) // size
        most = genes if self.method == "ga" else math.floor(self.density * genes)
        if not most:
            raise ValueError(f"density must leave one of {genes} weights, not {self.density}")
        order_key, key = map(int, random.randint(2**31 - 1, size=2))
        data = Data(training, order_key)
        states = METHODS[self.method](
            error,
            key,
            start,
            data,
            held_out,
            epochs=self.epochs,
            population_size=self.population_size,
            batch_size=self.batch_size,
            density=most / genes,
        )

        lowest, self.loss_curve_ = math.inf, []
        for state in states:
            networks = jax.device_get(state.params.params)
            losses = error(networks, held_out)
            losses = np.where(np.isfinite(losses), losses, np.inf)
            self.loss_curve_.append(float(losses.min()))
            leaves = [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(networks)]
            left = np.count_nonzero(np.concatenate(leaves, axis=1), axis=1)
            losses = np.where(left <= most, losses, np.inf)
            index = int(losses.argmin())
            if losses[index] < lowest:
                lowest = losses[index]
                self.network_ = jax.tree.map(lambda leaf, index=index: leaf[index].copy(), networks)
                self.density_ = float(left[index] / genes)
        if lowest == math.inf:
            rate = self.learning_rate
            raise ValueError(f"learning_rate must be lower than {rate}: no loss was finite")
        self.n_iter_ = len(self.loss_curve_)
        return self

    def _network_outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        # In float64, for rounding in float32 would depend on the number of rows.
        return dense.outputs(self.network_, X.astype(np.float64))


class EvolvedClassifier(ClassifierMixin, _EvolvedNetwork):
    """A dense ReLU network that classifies, trained by evolution with gradients or by pruning.

    Standardise the inputs, for instance by a `StandardScaler` before it in a `Pipeline`. A share of
    the examples is held out: individuals are ranked by their loss on these, and the network kept is
    the one of lowest loss there, of all individuals after each generation.

    Args:
      hidden: width of each hidden layer.
      method: "ga", the genetic algorithm whose survivors learn; "gemonn", a front of networks that
        are sparse copies of one that is trained first; "pruning", one network, gradually pruned.
      epochs: passes over the training examples, by every survivor of "ga", by the one network of
        "pruning", and half each by the first network and the offspring of "gemonn".
      population_size: individuals of "ga" and "gemonn", 2 or more.
      learning_rate: of Adam; evolution changes the children's.
      batch_size: examples of a gradient step, at most as many as there are to train on, or half of
        these with "gemonn".
      density: largest share of weights and biases that are not zero, in (0, 1]; not for "ga".
      validation_fraction: share of the examples that are held out, from 0 to 0.5; where it is 0 or
        there are fewer than 100 examples, the training examples take their place.
      random_state: an int for the same result every time, a `RandomState`, or None.

    Attributes:
      network_: list of layers, dicts of NumPy arrays `kernel` [inputs, outputs] and `bias`.
      density_: share of its weights and biases that are not zero.
      loss_curve_: lowest held-out loss of all individuals, whatever their density, after each
        generation.
      n_iter_: number of generations, with the scoring of an initial population.
      classes_: the labels in the order of the outputs.
      n_features_in_: number of inputs.

    Raises:
      ValueError: by `fit`, where an argument is out of its range or no loss is finite.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> from sklearn.preprocessing import scale
      >>> from gajax.estimator import EvolvedClassifier
      >>> inputs, labels = load_iris(return_X_y=True)
      >>> model = EvolvedClassifier(hidden=(8,), method="pruning", epochs=3, random_state=0)
      >>> model = model.fit(scale(inputs), labels)
      >>> model.predict_proba(scale(inputs)).shape, model.density_ <= 0.2
      ((150, 3), True)
    """

    def fit(self, X, y):
        """Train on inputs [N, F] and labels [N]."""
        self._check_arguments()
        X, y = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        return self._train(dense.cross_entropy, X, labels.astype(np.int32), len(self.classes_))

    def predict_proba(self, X):
        """Probability of each class, [N, K]."""
        return softmax(self._network_outputs(X), axis=1)

    def predict(self, X):
        """The most probable labels, [N]."""
        outputs = self._network_outputs(X)
        return self.classes_[outputs.argmax(axis=1)]


class EvolvedRegressor(RegressorMixin, _EvolvedNetwork):
    """A dense ReLU network for regression; as `EvolvedClassifier`, but for `classes_`.

    It learns standardised targets and predicts in their own units. The loss is the mean squared
    error in standard deviations.

    Example:
      >>> from gajax.estimator import EvolvedRegressor
      >>> inputs = np.linspace(-1, 1, 60)[:, None]
      >>> model = EvolvedRegressor(hidden=(8,), method="pruning", epochs=3, random_state=0)
      >>> model.fit(inputs, np.sin(inputs[:, 0])).predict(inputs).shape
      (60,)
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X, y):
        """Train on inputs [N, F] and targets [N] or [N, T]."""
        self._check_arguments()
        options = {"multi_output": True, "y_numeric": True, "ensure_min_samples": 2}
        X, y = validate_data(self, X, y, dtype=np.float32, **options)
        y = np.asarray(y, np.float64)
        self.target_mean_, deviation = y.mean(axis=0), y.std(axis=0)
        self.target_scale_ = np.where(deviation > 0, deviation, 1)
        targets = (y - self.target_mean_) / self.target_scale_
        targets = targets.reshape(len(y), -1).astype(np.float32)
        return self._train(dense.squared_error, X, targets, targets.shape[1])

    def predict(self, X):
        """Targets [N] or [N, T], as those given to `fit`."""
        outputs = self._network_outputs(X)
        shape = len(outputs), *np.shape(self.target_mean_)
        return self.target_mean_ + self.target_scale_ * outputs.reshape(shape)
