"""Interleaved timing of a function, of a lower bound (its floor) and of other libraries."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Function = Callable[[], Any]
"""A function to be timed; returns JAX arrays, or values that are computed on return."""


class Sizes(NamedTuple):
    """Sizes of all measurements."""

    product: int = 2_048  # side of the matrices whose product is the unit of the floors
    population: int = 10
    trained: int = 4_096  # examples that a population is fine-tuned on
    scored: int = 60_000
    layers: tuple[int, ...] = (784, 500, 250, 100, 50)  # rivals are measured on the first layer
    batches: tuple[int, ...] = (32, 128, 512)
    front: int = 50  # networks of GEMONN's population
    front_batch: int = 128
    points: tuple[int, ...] = (100, 1_000, 10_000, 100_000)  # in two objectives
    points_of_three: tuple[int, ...] = (100, 1_000)
    ga: tuple[int, int] = (10_000, 10_000)  # individuals, genes
    individuals: tuple[int, ...] = (10, 32, 100, 316, 1_000)  # with genes_each genes
    genes_each: int = 100_000
    genes: tuple[int, ...] = (10_000, 31_623, 100_000, 316_228, 1_000_000, 3_162_278, 10_000_000)
    individuals_each: int = 10
    fronts: tuple[int, ...] = (16, 50)  # networks of a ladder
    front_hidden: int = 500
    front_generations: int = 23
    regrown: int = 8_000  # batches of the one network beside it
    fitted: int = 1_198  # images of an estimator, at most
    compiled: int = 10  # individuals whose first generation is compiled
    cache: int = 32 * 2**20  # bytes; exponents are fitted to larger populations


QUICK = Sizes(
    product=512,
    population=3,
    trained=512,
    scored=2_000,
    batches=(128,),
    front=6,
    fronts=(3,),
    front_hidden=8,
    front_generations=2,
    regrown=60,
    points=(1_000,),
    points_of_three=(100,),
    ga=(500, 2_000),
    individuals=(32, 100),
    genes_each=10_000,
    genes=(31_623, 100_000),
    cache=2**20,
)
"""Small sizes for a quick test."""


class Row(NamedTuple):
    """One line of the table.

    Attributes:
      row: number of the part of the benchmark.
      name: what is measured.
      size: size of the input.
      seconds: median of the repeats.
      floor_seconds: lower bound for any program, None if unknown.
      rivals: seconds that other libraries take, by name.
      note: remarks.
      peak_bytes: memory of the compiled program, if measured.
    """

    row: int
    name: str
    size: str
    seconds: float
    floor_seconds: float | None
    rivals: dict[str, float]
    note: str = ""
    peak_bytes: int | None = None


class Floor(NamedTuple):
    """A function whose time, multiplied by `times`, is a lower bound."""

    function: Function
    times: float = 1.0


def rivals_or_missing(
    package: str, make: Callable[..., Mapping[str, Function]], *arguments: Any
) -> Mapping[str, Function | None]:
    """Functions of `make` by name, or None under the package's name if it is not installed."""
    try:
        return make(*arguments)
    except ImportError:
        return {package: None}


def measure(
    row: int,
    name: str,
    size: str,
    function: Function,
    repeats: int,
    *,
    floor: Floor | None = None,
    rivals: Mapping[str, Function | None] | None = None,
    note: str = "",
) -> Row:
    """Measure a function; rivals that are None are noted as missing."""
    rivals = rivals or {}
    present = {rival: other for rival, other in rivals.items() if other}
    floors = [floor.function] if floor else []
    seconds, *others = interleaved(function, *floors, *present.values(), repeats=repeats)
    floor_seconds = floor.times * others.pop(0) if floor else None
    missing = [f"{rival} not installed" for rival, other in rivals.items() if not other]
    return Row(
        row,
        name,
        size,
        seconds,
        floor_seconds,
        dict(zip(present, others, strict=True)),
        "; ".join([note] * bool(note) + missing),
    )


def interleaved(*functions: Function, repeats: int) -> list[float]:
    """Median seconds of each function, after a first call that compiles.

    Calls are interleaved, because the speed of a shared machine drifts.
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


def timed_anew(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of all threads together, of a function that is compiled anew."""
    jax.clear_caches()
    began, before = time.perf_counter(), os.times()
    jax.block_until_ready(run())
    after = os.times()
    processor = after.user + after.system - before.user - before.system
    return time.perf_counter() - began, processor


def stateful(step: Callable[[Any], Any], state: Any) -> Function:
    """Return a function that advances the state on each call, so that `step` may donate it."""
    held = [state]

    def call() -> Any:
        held[0] = step(held[0])
        return held[0]

    return call


def product(side: int) -> Function:
    """A float32 product of two square matrices, with 2 * side**3 operations."""
    left, right = jax.random.normal(jax.random.key(0), (2, side, side))
    return partial(jax.jit(jnp.matmul), left, right)


def products(side: int, operations: float) -> Floor:
    """The floor of a computation with this many operations in matrix products."""
    return Floor(product(side), operations / (2 * side**3))


def training_operations(layers: tuple[int, ...]) -> int:
    """Operations of the matrix products for the gradient of one example.

    Encoder and decoder use each weight in the forward pass and for the gradients of weights and of
    inputs, with two operations each; the gradient of the image is not needed.
    """
    return 12 * weights(layers) - 2 * layers[0] * layers[1]


def weights(layers: tuple[int, ...]) -> int:
    """Number of weights of a tied autoencoder, without biases."""
    return sum(inputs * outputs for inputs, outputs in zip(layers, layers[1:], strict=False))


def device() -> str:
    """The device kind and, for a CPU, its model and number of cores."""
    first = jax.devices()[0]
    if first.platform != "cpu":
        return first.device_kind
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return f"{first.device_kind}, {model}, {os.cpu_count()} cores"
