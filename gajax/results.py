"""What a run has found, as NumPy and as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Real

from gajax import pareto, sharding, viewing
from gajax import population as populations
from gajax.individual import genes_of, leaf_paths


@dataclass(frozen=True, eq=False, repr=False)
class Front:
    """Individuals none of which is better than another one in all objectives; a table as text.

    Sorted by the first objective, the lowest first.

    Attributes:
      individuals: a population of K.
      objectives: the columns that are minimised, by name, `loss` last.
      metrics: what `context.Output` has named.

    Example:
      >>> objectives = {"density": np.array([0.1, 0.2, 1.0]), "loss": np.array([0.9, 0.2, 0.1])}
      >>> front = gajax.Front(jnp.eye(3), objectives, metrics={})
      >>> len(front), front.take(1)
      (3, Array([0., 1., 0.], dtype=float32))
    """

    individuals: Any  # [K, ...]
    objectives: dict[str, Real[np.ndarray, " K"]]
    metrics: dict[str, Real[np.ndarray, " K"]]

    def __len__(self) -> int:
        return len(self.objectives["loss"])

    def take(self, index: int) -> Any:
        """The individual at an index, without its axis K; negative ones count from the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must be from {-len(self)} to {len(self) - 1}, not {index}")
        return populations.take(self.individuals, index)

    def knee(self) -> int:
        """Index of the best compromise, as `gajax.pareto.knee` finds it; ValueError if empty."""
        if not len(self):
            raise ValueError("the front must hold an individual with finite objectives, not none")
        return int(pareto.knee(jnp.stack([*self.objectives.values()], axis=1)))

    def show(self) -> viewing.Page:
        """A page to click on, which a notebook shows at the end of a cell.

        A click or an arrow key selects an individual: objectives, metrics, number of weights that
        are not zero, and those of its largest matrix. `show().text` is the HTML. ImportError where
        plotly is missing, ValueError if the front is empty.
        """
        if not len(self):
            raise ValueError("the front must hold an individual with finite objectives, not none")
        leaves = jax.tree.map(np.asarray, genes_of(self.individuals))
        names, arrays = jax.tree.leaves(leaf_paths(leaves)), jax.tree.leaves(leaves)
        counts = sum(np.count_nonzero(leaf.reshape(len(self), -1), axis=1) for leaf in arrays)
        named = zip(names, arrays, strict=True)
        matrices = [(name, leaf) for name, leaf in named if leaf.ndim == 3]
        parts: dict[str, Any] = {}
        if matrices:
            name, kernels = max(matrices, key=lambda item: item[1].size)
            parts["weights"] = [viewing.weights(name, kernel) for kernel in kernels]
        columns = self.objectives | self.metrics | {"nonzero weights": counts}
        return viewing.front_page("Front", columns, selected=self.knee(), **parts)

    def __repr__(self) -> str:
        columns = {"": [f"{index}" for index in range(len(self))]}
        for name, values in (self.objectives | self.metrics).items():
            columns[name] = [f"{value:.4g}" for value in values]
        widths = [max(map(len, (name, *texts))) for name, texts in columns.items()]
        rows = [columns.keys(), *zip(*columns.values(), strict=True)]
        return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def front(state: Any, objectives: Mapping[str, Any] | None = None) -> Front:
    """The individuals of a state that no other one dominates.

    Those with an objective that is not finite are left out, and so is each that equals an earlier
    one in all objectives.

    Args:
      state: of any algorithm, of one seed.
      objectives: columns [P] to minimise beside `state.loss`, by name; None for those that
        `nsga2` or `gemonn` has minimised, in alphabetical order.

    Raises:
      ValueError: where the state has several seeds, or no objectives beside the loss and none are
        given.

    Example:
      >>> algorithm = gajax.ga(None, survivors=2, batch_size=1)
      >>> state = gajax.start(algorithm, 0, jnp.array([[1.0, 1.0], [0.0, 1.0], [0.0, 2.0]]))
      >>> state = state._replace(loss=jnp.array([0.1, 0.2, 0.3]))
      >>> gajax.front(state, {"density": gajax.density(state.params)})
         density  loss
      0      0.5   0.2
      1        1   0.1
    """
    if state.loss.ndim != 1:
        raise ValueError(f"the state must be of one seed, not of {len(state.loss)}")
    if objectives is None:
        objectives = getattr(state, "objectives", {})
    if not objectives:
        raise ValueError("objectives must name a column beside the loss, not none")
    columns = _on_host(objectives) | _on_host({"loss": state.loss})
    points = np.stack([*columns.values()], axis=1)
    kept = non_dominated(points)
    return Front(
        individuals=populations.take(state.params, jnp.asarray(kept)),
        objectives={name: column[kept] for name, column in columns.items()},
        metrics={name: column[kept] for name, column in _on_host(state.metrics).items()},
    )


def _on_host(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """In the order given, where a tree of JAX would sort the names."""
    return {name: sharding.gather(column) for name, column in columns.items()}


def non_dominated(points: Float[np.ndarray, "P M"]) -> Int[np.ndarray, " K"]:
    """Indices of the distinct finite points that no other one dominates, in lexical order.

    All objectives are minimised. In NumPy, because `gajax.pareto.ranks` takes longer to compile
    than this takes to run.
    """
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    distinct, first = np.unique(points[finite], axis=0, return_index=True)
    members, indices = np.empty_like(distinct), []
    for point, index in zip(distinct, finite[first], strict=True):
        # The points that dominate this one stand before it.
        if not (members[: len(indices)] <= point).all(axis=1).any():
            members[len(indices)] = point
            indices.append(index)
    return np.array(indices, int)
