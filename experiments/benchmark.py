"""How near training and evolution come to what they cannot avoid, and to their rivals."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import gajax
from experiments import layerwise, networks
from experiments.cli import parse, require_at_least, run_main
from gajax import evaluation
from gajax.models import TiedAutoencoder

SIDE = 2048
EXAMPLES = 4_096
SCORED = 20_000
NETWORKS = ((784, 500), (784, 500, 250, 100, 50))
FRONT_PIXELS, FRONT_HIDDEN, FRONT_POPULATION, FRONT_BATCH = 784, 500, 50, 128
POINTS = 10_000


@dataclass(frozen=True)
class Config:
    """What is measured."""

    preset: Literal["default"] = "default"
    """there is only one"""
    population_size: int = 10
    """individuals trained or scored at once"""
    repeats: int = 5
    """times each figure is taken; the table has medians"""


class Row(NamedTuple):
    """One line of the table: a time beside the one that it cannot beat or that a rival takes."""

    name: str
    seconds: float
    other: str
    other_seconds: float


def paired(*functions: Callable[[], Any], repeats: int) -> list[float]:
    """Median seconds of each function, called in turns, after one call that compiles.

    In turns, because the speed of a shared machine wanders.
    """
    for function in functions:
        jax.block_until_ready(function())
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, taken in zip(functions, times, strict=True):
            started = time.perf_counter()
            jax.block_until_ready(function())
            taken.append(time.perf_counter() - started)
    return [median(taken) for taken in times]


def product() -> Callable[[], Any]:
    """A float32 product of two square matrices of side `SIDE`: 2 * SIDE**3 operations."""
    left, right = jax.random.normal(jax.random.key(0), (2, SIDE, SIDE))
    return partial(jax.jit(jnp.matmul), left, right)


def against_products(name: str, function: Callable[[], Any], work: int, repeats: int) -> Row:
    """The row of a function that cannot avoid `work` operations in matrix products."""
    seconds, of_product = paired(function, product(), repeats=repeats)
    return Row(name, seconds, f"{SIDE} x {SIDE} products", of_product * work / (2 * SIDE**3))


def training_operations(layers: tuple[int, ...]) -> int:
    """Operations of the matrix products that one example's gradient cannot avoid.

    Each weight is used in the encoder and the decoder, forwards, for the gradient of the weight
    and for that of the input, at two operations each; the image needs no gradient.
    """
    weights = [inputs * outputs for inputs, outputs in zip(layers, layers[1:], strict=False)]
    return 12 * sum(weights) - 2 * weights[0]


def training(config: Config) -> Iterator[Row]:
    """Fine-tuning and scoring of a population, as `mnist_ga` does them."""
    for layers in NETWORKS:
        model = TiedAutoencoder(layers)
        phase = layerwise.whole_phase(layers, 1)
        loss_fn = layerwise.reconstruction_loss(model, phase, "image")
        population = layerwise.draw(jax.random.key(1), model, config.population_size)
        images = jax.random.bits(jax.random.key(2), (SCORED, layers[0]), jnp.uint8)
        data = gajax.Data({"inputs": images}, jax.random.key(3), ({},))
        optimizer = optax.adam(1e-3)
        state = jax.vmap(optimizer.init)(population)
        name = "-".join(map(str, layers))
        for batch in (32, 128, 512):

            @jax.jit
            def train(population, state, data, batch=batch, loss_fn=loss_fn, optimizer=optimizer):
                order = evaluation.batch_order(data, 0, batch_size=batch)[: EXAMPLES // batch]
                gradient = jax.value_and_grad(loss_fn)
                return evaluation.gradient_steps(
                    gradient, optimizer, population, state, data, order, 0, len(order)
                )

            work = training_operations(layers) * EXAMPLES * config.population_size
            function = partial(train, population, state, data)
            title = f"fine-tuning {name}, batch {batch}"
            yield against_products(title, function, work, config.repeats)

        @jax.jit
        def score(population, data, loss_fn=loss_fn):
            return evaluation.losses(loss_fn, population, data)

        work = 2 * phase.work * SCORED * config.population_size
        function = partial(score, population, data)
        title = f"scoring {name}, {SCORED:,} images"
        yield against_products(title, function, work, config.repeats)


def evolving(config: Config) -> Iterator[Row]:
    """A generation of GEMONN at the published setting, and its crossover alone."""
    network = networks.make("autoencoder", (FRONT_HIDDEN,), (FRONT_PIXELS, 1, 1), 10)
    densities = gajax.graded(FRONT_POPULATION)
    population = gajax.init(jax.random.key(1), network.init, FRONT_POPULATION, densities=densities)
    images = jax.random.bits(jax.random.key(2), (4 * FRONT_BATCH, FRONT_PIXELS), jnp.uint8)
    data = gajax.Data({"images": images}, jax.random.key(3))
    algorithm = gajax.gemonn(
        network.loss_fn,
        batch_size=FRONT_BATCH,
        value_and_grad=network.value_and_grad,
        stale_parents=True,
    )
    key = jax.random.key(4)
    state = [gajax.start(algorithm, key, population, data)]
    state[0], _ = gajax.run(algorithm, key, state[0], data)  # the initial population

    def generation() -> Any:
        state[0], info = gajax.run(algorithm, key, state[0], data)
        return info.loss

    layers = (FRONT_PIXELS, FRONT_HIDDEN)
    work = training_operations(layers) * FRONT_BATCH * FRONT_POPULATION
    size = f"{FRONT_POPULATION} x {gajax.genes(gajax.take(population, 0)):,} genes"
    yield against_products(f"GEMONN generation, {size}", generation, work, config.repeats)


def sorting(config: Config) -> Iterator[Row]:
    """Ranks, crowding and survivors of points in two objectives."""
    points = np.random.default_rng(0).random((POINTS, 2), np.float32)
    here = partial(jax.jit(gajax.pareto.survivors, static_argnums=1), points, POINTS // 2)
    rivals: dict[str, Callable[[], Any]] = {
        "a sort of the points": partial(jax.jit(jnp.lexsort), (*points.T,))
    }
    try:
        from pymoo.core.population import Population
        from pymoo.core.problem import Problem
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
    except ImportError:
        pass
    else:
        survival, problem = RankAndCrowding(), Problem(n_var=1, n_obj=2)

        def there() -> Any:
            return survival.do(problem, Population.new("F", points), n_survive=POINTS // 2)

        rivals["pymoo"] = there
    for rival, function in rivals.items():
        seconds, other = paired(here, function, repeats=config.repeats)
        yield Row(f"ranks, crowding, survivors of {POINTS:,}", seconds, rival, other)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    config = parse(
        Config,
        arguments,
        presets={"default": Config()},
        program="python -m experiments.benchmark",
        description=__doc__ or "",
    )
    require_at_least(config, {"population_size": 1, "repeats": 1})
    console = Console()
    rows = []
    with console.status("measuring"):
        for part in (training, evolving, sorting):
            rows += part(config)
    device = jax.devices()[0].device_kind
    title = f"a population of {config.population_size} on {device}, jax {jax.__version__}"
    table = Table("", "ms", "against", "ms", "share", "times", title=title)
    for name, seconds, other, other_seconds in rows:
        times = seconds / other_seconds
        table.add_row(
            name,
            f"{1e3 * seconds:.1f}",
            other,
            f"{1e3 * other_seconds:.1f}",
            f"{1 / times:.0%}",
            f"{times:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(run_main(main, "benchmark"))
