"""How near the training of a population comes to the matrix products it cannot avoid."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

import gajax
from experiments import layerwise
from experiments.cli import parse, require, run_main
from gajax import evaluation
from gajax.models import TiedAutoencoder

SIDE = 2048
EXAMPLES = 4_096
SCORED = 20_000
NETWORKS = ((784, 500), (784, 500, 250, 100, 50))


@dataclass(frozen=True)
class Config:
    """What is measured."""

    preset: Literal["default"] = "default"
    """there is only one"""
    population_size: int = 10
    """individuals trained or scored at once"""
    repeats: int = 5
    """times each figure is taken; the table has medians"""


def seconds(function: Callable[..., Any], *arguments: Any, repeats: int) -> float:
    """Median time of a call, after one that compiles."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - started)
    return median(times)


def matrix_rate(repeats: int) -> float:
    """Operations a second of a float32 product of two square matrices of side `SIDE`."""
    left, right = jax.random.normal(jax.random.key(0), (2, SIDE, SIDE))
    return 2 * SIDE**3 / seconds(jax.jit(jnp.matmul), left, right, repeats=repeats)


def training_operations(layers: tuple[int, ...]) -> int:
    """Operations of the matrix products that one example's gradient cannot avoid.

    Each weight is used in the encoder and the decoder, forwards, for the gradient of the weight
    and for that of the input, at two operations each; the image needs no gradient.
    """
    weights = [inputs * outputs for inputs, outputs in zip(layers, layers[1:], strict=False)]
    return 12 * sum(weights) - 2 * weights[0]


def measure(config: Config) -> list[tuple[str, float, float]]:
    """Rows of (name, operations a second, the machine's rate just before and after)."""
    rows = []
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

            before = matrix_rate(config.repeats)
            taken = seconds(train, population, state, data, repeats=config.repeats)
            rate = (before + matrix_rate(config.repeats)) / 2
            work = training_operations(layers) * EXAMPLES * config.population_size
            rows.append((f"fine-tuning {name}, batch {batch}", work / taken, rate))

        @jax.jit
        def score(population, data, loss_fn=loss_fn):
            return evaluation.losses(loss_fn, population, data)

        before = matrix_rate(config.repeats)
        taken = seconds(score, population, data, repeats=config.repeats)
        rate = (before + matrix_rate(config.repeats)) / 2
        work = 2 * phase.work * SCORED * config.population_size
        rows.append((f"scoring {name}, {SCORED:,} images", work / taken, rate))
    return rows


def main(arguments: list[str]) -> None:
    """Run the command line."""
    config = parse(
        Config,
        arguments,
        presets={"default": Config()},
        program="python -m experiments.benchmark",
        description=__doc__ or "",
    )
    for name in ("population_size", "repeats"):
        value = getattr(config, name)
        require(value >= 1, "--" + name.replace("_", "-"), value, "1 or more")
    console = Console()
    with console.status("measuring"):
        rows = measure(config)
    device = jax.devices()[0].device_kind
    title = f"a population of {config.population_size} on {device}, jax {jax.__version__}"
    table = Table("", "GFLOP/s", f"{SIDE} x {SIDE} product", "share", title=title)
    for name, reached, rate in rows:
        table.add_row(name, f"{reached / 1e9:.0f}", f"{rate / 1e9:.0f}", f"{reached / rate:.0%}")
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(run_main(main, "benchmark"))
