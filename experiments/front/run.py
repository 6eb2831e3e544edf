"""Results of one evolution of a front, collected during the run and evaluated at its end."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gajax
from experiments.datasets.catalog import Dataset
from experiments.front import measures, methods
from experiments.front.config import Config
from experiments.front.measures import Front
from experiments.front.networks import Network
from experiments.front.recorder import FrontRecorder
from experiments.front.results import Results
from experiments.running.checkpoints import Checkpoint
from experiments.running.cli import require_finite_loss
from gajax.results import non_dominated
from gajax.types import Params

SNAPSHOTS = (1, 10, 100)
"""Generations, besides the last, whose best network is drawn."""

_PREVIEW = 5_000  # training images for the fronts before and after evolution


class Setting(NamedTuple):
    """Values shared by evolutions that differ only in their seed."""

    dataset: Dataset
    network: Network
    parts: dict[str, gajax.Data]  # whole sets
    zero_loss: float


class FrontRun:
    """Collects the results of the evolution of one seed."""

    def __init__(
        self,
        config: Config,
        setting: Setting,
        recorder: FrontRecorder,
        on_step: Callable[[measures.Step, float], None],
    ) -> None:
        self._config, self._setting = config, setting
        self._recorder, self._on_step = recorder, on_step
        self._stages: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._snapshots: dict[int, Params] = {}

    def observe(self, step: measures.Step) -> None:
        """Record a step."""
        self._recorder.observe(step)
        self._on_step(step, self._setting.zero_loss)
        generation = int(step.info.generation)
        if step.phase == "evolution" and step.info.done:
            if generation == 0:
                self._stages["before evolution"] = self._points(step)
            if generation in SNAPSHOTS:
                self._snapshots[generation] = _best(step)
        elif step.phase == "evolved":
            self._stages["after evolution"] = self._points(step)

    def saved_trees(self) -> list[Params]:
        """The snapshots, which `restore` reads from a checkpoint."""
        return [*self._snapshots.values()]

    def saved_facts(self) -> dict[str, Any]:
        """The rest of the state for `restore`, serialisable as JSON."""
        stages = {
            name: [np.asarray(values).tolist() for values in points]
            for name, points in self._stages.items()
        }
        return {
            "recorder": self._recorder.saved(),
            "stages": stages,
            "snapshots": [*self._snapshots],
        }

    def restore(self, facts: dict[str, Any], resumed: Checkpoint) -> None:
        """Restore the state from `saved_facts` and `saved_trees`."""
        self._recorder.restore(facts["recorder"])
        for name, points in facts["stages"].items():
            dtype = jax.dtypes.canonicalize_dtype(float)  # of densities and losses
            density, loss = (np.array(values, dtype) for values in points)
            self._stages[name] = density, loss
        network = jax.eval_shape(self._setting.network.init, jax.random.key(0))
        for generation in facts["snapshots"]:
            self._snapshots[generation] = resumed.take(network)

    def results(self, step: measures.Step, seconds: float) -> Results:
        """Evaluate the last step; `seconds` is the time of the evolution."""
        started = time.perf_counter()
        self._recorder.meter.finish()
        config = self._config
        dataset, network, parts, zero_loss = self._setting
        self._snapshots[self._recorder.generation] = _best(step)
        params = network.tidy(step.params)
        step = step._replace(params=params, density=measures.densities(params))
        order, front, members = _measure(network, step, parts)
        generation = self._recorder.generation
        require_finite_loss(members.train_loss, config.rate, generation, step.phase)
        population = gajax.take(step.params, jnp.asarray(order))
        last = "after evolution" if len(self._stages) < 2 else "after refinement"
        self._stages[last] = (front.density, front.train_loss)
        summary: dict[str, Any] = {
            "method": config.method,
            "model": config.model,
            "dataset": dataset.name,
            "dataset_source": dataset.source,
            "seed": config.seed,
            **_summary(front, zero_loss),
            "zero_loss": zero_loss,
            "gene_count": gajax.genes(gajax.take(population, 0)),
            **self._recorder.meter.cost(),
            "seconds": seconds + time.perf_counter() - started,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }
        if names := methods.NAMES.get(config.method):
            summary["names"] = [names[index] for index in order]
        if config.validation:
            loss = measures.losses(network, population, parts["validation"])[: len(front.density)]
            summary["validation_log_hypervolume"] = measures.log_hypervolume(
                front.density, loss, zero_loss
            )
        return Results(
            config=config,
            dataset=dataset,
            network=network,
            population=population,
            front=front,
            members=members,
            stages=self._stages,
            snapshots=self._snapshots,
            rows=self._recorder.meter.rows,
            populations=self._recorder.populations,
            summary=summary,
        )

    def _points(self, step: measures.Step) -> tuple[np.ndarray, np.ndarray]:
        """Density and loss of all individuals on some training images."""
        data = self._setting.parts["train"]
        examples = jax.tree.map(lambda leaf: leaf[:_PREVIEW], data.examples)
        loss = measures.losses(self._setting.network, step.params, data._replace(examples=examples))
        return step.density, loss


def _best(step: measures.Step) -> Params:
    """The individual with the lowest loss on its latest batch."""
    index = int(np.argmin(np.nan_to_num(step.info.loss, nan=np.inf)))
    return gathered(gajax.take(step.params, index))


def gathered(params: Params) -> Params:
    """Gather parameters that are sharded over devices."""
    return jax.tree.map(jnp.asarray, gajax.sharding.gather(params))


def _measure(
    network: Network, step: measures.Step, parts: dict[str, gajax.Data]
) -> tuple[np.ndarray, Front, Front]:
    """The order with the front first, the front, and all individuals in that order."""
    train_loss = measures.losses(network, step.params, parts["train"])
    front = non_dominated(np.stack([step.density, train_loss], axis=1))
    others = np.setdiff1d(np.arange(len(train_loss)), front)
    order = np.concatenate([front, others[np.lexsort((train_loss[others], step.density[others]))]])
    test_loss = measures.losses(network, step.params, parts["test"])[order]
    accuracy = None
    if network.logits:
        accuracy = measures.accuracies(network, step.params, parts["test"])[order]
    members = Front(step.density[order], train_loss[order], test_loss, accuracy)
    return order, members.cut(len(front)), members


def _summary(front: Front, zero_loss: float) -> dict[str, Any]:
    """Hypervolume, knee and most accurate network of the front."""
    knee = measures.knee(front.density, front.train_loss)
    values: dict[str, Any] = {
        "log_hypervolume": measures.log_hypervolume(front.density, front.train_loss, zero_loss),
        "front_size": len(front.density),
    }
    for name, index in (("knee", knee), ("best", len(front.density) - 1)):
        values[f"{name}_density"] = float(front.density[index])
        values[f"{name}_train_loss"] = float(front.train_loss[index])
        values[f"{name}_test_loss"] = float(front.test_loss[index])
        if front.test_accuracy is not None:
            values[f"{name}_test_accuracy"] = float(front.test_accuracy[index])
    return values
