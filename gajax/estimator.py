"""scikit-learn estimators whose dense network is evolved, or pruned."""

import math
from collections.abc import Callable, Iterator
from functools import cache
from numbers import Integral, Real
from typing import Any

import jax
import numpy as np
import optax

from gajax import individual, loop, population, types
from gajax.algorithms.descent import descent
from gajax.algorithms.ga import ga
from gajax.algorithms.gemonn import gemonn
from gajax.algorithms.pruning import Move, pruning
from gajax.fronts import Refine
from gajax.individual import Individual
from gajax.sparsity import sparse
from gajax.types import Algorithm, Data

try:
    from scipy.special import softmax
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    message = 'gajax.estimator needs scikit-learn 1.6 or later: pip install "scikit-learn>=1.6"'
    raise ImportError(message) from error

METHODS = "ga", "gemonn", "pruning"
_SCORED = 1_000  # training examples that individuals are ranked by


class _EvolvedNetwork(BaseEstimator):
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

    def _train(self, loss_fn: Callable[..., Any], inputs: np.ndarray, targets: np.ndarray, outputs):
        self._check()
        random = check_random_state(self.random_state)
        order = random.permutation(len(inputs))
        held_out = int(self.validation_fraction * len(inputs)) if len(inputs) >= 10 else 0
        train = {"inputs": inputs[order[held_out:]], "targets": targets[order[held_out:]]}
        test = {"inputs": inputs[order[:held_out]], "targets": targets[order[:held_out]]}
        if not held_out:
            test = train
        widths = inputs.shape[1], *self.hidden, outputs
        size = self.population_size if self.method == "ga" else 1
        networks = [
            {
                "kernel": random.normal(0, math.sqrt(2 / n), (size, n, m)).astype(np.float32),
                "bias": np.zeros((size, m), np.float32),
            }
            for n, m in zip(widths, widths[1:])
        ]
        rates = np.full(size, self.learning_rate, np.float32)
        start = Individual(networks, hyper={"learning_rate": rates})
        genes = sum(leaf[0].size for leaf in jax.tree.leaves(networks))
        most = math.floor(self.density * genes)
        limit = genes if self.method == "ga" else most
        key, order_key = map(int, random.randint(2**31, size=2))
        data = Data(train, order_key)
        self.loss_curve_, self.validation_loss_ = [], np.inf
        run = {"ga": _ga, "gemonn": _gemonn, "pruning": _pruning}[self.method]
        for state, info in run(self, loss_fn, key, start, data, most / genes):
            self.loss_curve_.append(float(np.nanmin(info.loss)))
            networks = jax.device_get(state.params.params)
            losses = loss_fn(networks, test)
            weights = sum(
                np.count_nonzero(leaf.reshape(len(leaf), -1), axis=1)
                for leaf in jax.tree.leaves(networks)
            )
            losses = np.where(np.isfinite(losses) & (weights <= limit), losses, np.inf)
            index = np.argmin(losses)
            if losses[index] < self.validation_loss_:
                self.validation_loss_ = float(losses[index])
                self.network_ = jax.tree.map(lambda leaf: leaf[index].copy(), networks)
                self.density_ = float(weights[index] / genes)
        self.n_iter_ = len(self.loss_curve_)
        return self

    def _check(self):
        pass


def _ga(self, loss_fn, key, start, data, density):
    examples = len(data.examples["inputs"])
    algorithm = ga(
        loss_fn,
        optimizer=_adam,
        survivors=self.population_size // 2,
        batch_size=min(self.batch_size, examples),
        score_examples=_SCORED,
    )
    return loop.evolve(algorithm, key, start, data, generations=self.epochs, together=1)


def _pruning(self, loss_fn, key, start, data, density):
    examples = len(data.examples["inputs"])
    batch_size = min(self.batch_size, examples)
    batches = examples // batch_size
    moves = []
    for epoch in range(self.epochs):
        t = min(1, 1.5 * (epoch) / self.epochs)
        d = density + (1 - density) * (1 - t) ** 3
        moves.append(Move(0, epoch * batches, (epoch + 1) * batches, d))
    algorithm = pruning(
        loss_fn,
        optimizer=_adam,
        batch_size=batch_size,
        moves=tuple(moves),
        may_be_zero=individual.all_leaves,
    )
    return loop.evolve(algorithm, key, start, data, together=1)


def _gemonn(self, loss_fn, key, start, data, density):
    examples = len(data.examples["inputs"])
    batch_size = min(self.batch_size, examples // 2)
    trainer = descent(loss_fn, optimizer=_adam, batch_size=batch_size)
    half = max(1, self.epochs // 2)
    for state, info in loop.evolve(trainer, key, start, data, generations=half, together=1):
        yield state, info
    steps = max(1, examples // batch_size - 1)
    algorithm = gemonn(loss_fn, batch_size=batch_size, refine=Refine(_sparse_adam, steps))
    algorithm = _from_network(algorithm, self.population_size, density)
    yield from loop.evolve(algorithm, key + 1, state.params, data, generations=half, together=1)


@types.cached
def _from_network(algorithm, size, density):
    densities = population.linear_densities(size) * density

    def init(key, network, data):
        key_copies, key_init = jax.random.split(key)
        copies = population.sparse_copies(
            key_copies, population.take(network, 0), size, densities=densities
        )
        hyper = jax.tree.map(lambda leaf: jax.numpy.repeat(leaf, size, axis=0), network.hyper)
        return algorithm.init(key_init, copies._replace(hyper=hyper), data)

    return Algorithm(init, lambda _, examples: algorithm.stages(size, examples))


def _adam(hyper):
    return optax.adam(hyper["learning_rate"])


def _sparse_adam(hyper):
    return sparse(_adam(hyper))


def _outputs(network, inputs):
    *hidden, last = network
    for layer in hidden:
        inputs = (inputs @ layer["kernel"] + layer["bias"][..., None, :]).clip(0)
    return inputs @ last["kernel"] + last["bias"][..., None, :]


def _cross_entropy(network, batch):
    logits = _outputs(network, batch["inputs"])
    numpy = logits.__array_namespace__()
    logits = logits - logits.max(-1, keepdims=True)
    own = numpy.where(batch["targets"][:, None] == numpy.arange(logits.shape[-1]), logits, 0)
    return (numpy.log(numpy.exp(logits).sum(-1)) - own.sum(-1)).mean(-1)


def _squared_error(network, batch):
    return ((_outputs(network, batch["inputs"]) - batch["targets"]) ** 2).mean((-1, -2))


class EvolvedClassifier(ClassifierMixin, _EvolvedNetwork):
    def fit(self, X, y):
        X, y = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        return self._train(_cross_entropy, X, labels.astype(np.int32), len(self.classes_))

    def predict_proba(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return softmax(_outputs(self.network_, X), axis=1)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class EvolvedRegressor(RegressorMixin, _EvolvedNetwork):
    def fit(self, X, y):
        X, y = validate_data(
            self, X, y, dtype=np.float32, ensure_min_samples=2, y_numeric=True
        )
        self._mean, self._scale = y.mean(), y.std() or 1.0
        targets = ((y - self._mean) / self._scale).astype(np.float32)[:, None]
        return self._train(_squared_error, X, targets, 1)

    def predict(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return self._mean + self._scale * _outputs(self.network_, X)[:, 0].astype(float)
