"""Scaling of time and memory of a generation with the population size and number of genes."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gajax
from experiments.benchmark.measure import Row, Sizes, measure, stateful

_BYTES = 4  # of a gene


def scaling(sizes: Sizes, repeats: int) -> Iterator[Row]:
    """Generations of both algorithms with a loss that only reads the genes.

    The last row of a series has the exponents of time and memory, fitted to the populations that
    exceed the cache.
    """
    series = (
        ("P", [(individuals, sizes.genes_each) for individuals in sizes.individuals]),
        ("genes", [(sizes.individuals_each, genes) for genes in sizes.genes]),
    )
    # A generation of the GA has two steps: a training batch with breeding, and scoring.
    for name, steps in (("GEMONN", 1), ("GA", 2)):
        for axis, shapes in series:
            rows = [generation(name, steps, *shape, repeats) for shape in shapes]
            volumes = np.prod(shapes, axis=1)
            outgrown = volumes * _BYTES > sizes.cache
            if outgrown.sum() > 1:
                time, memory = (
                    exponent(volumes[outgrown], np.array(values)[outgrown])
                    for values in ([row.seconds for row in rows], [row.peak_bytes for row in rows])
                )
                note = f"time as {axis}^{time:.2f}, memory as {axis}^{memory:.2f}"
                rows[-1] = rows[-1]._replace(note=note)
            yield from rows


def generation(name: str, steps: int, individuals: int, genes: int, repeats: int) -> Row:
    """Measure a generation of GEMONN, or of the GA with one step of Adam."""

    def loss_fn(params: jax.Array, batch: jax.Array) -> jax.Array:
        return jnp.mean((params - batch) ** 2)

    if name == "GEMONN":
        algorithm = gajax.gemonn(loss_fn, batch_size=1)
    else:
        algorithm = gajax.ga(
            loss_fn, optimizer=optax.adam(1e-3), survivors=individuals // 2, batch_size=1
        )
    key_draw, key_order, key = jax.random.split(jax.random.key(0), 3)
    population = jax.random.normal(key_draw, (individuals, genes))
    data = gajax.Data(jnp.zeros((1, 1)), key_order)
    state = gajax.start(algorithm, key, population, data)
    del population
    stages = algorithm.stages(individuals, 1)(1)
    compiled = gajax.run_generations.lower(stages, key, state, data, 1, count=steps).compile()

    def step(state: Any) -> Any:
        return compiled(key, state, data, 1)[0]

    row = measure(
        7,
        f"{name} generation without a network",
        f"{individuals:,} x {genes:,} genes",
        stateful(step, state),
        repeats,
    )
    return row._replace(peak_bytes=peak_bytes(compiled))


def peak_bytes(compiled: jax.stages.Compiled) -> int:
    """Peak bytes of a program, arguments and results included."""
    memory: Any = compiled.memory_analysis()
    return (
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )


def exponent(x: np.ndarray, y: np.ndarray) -> float:
    """The exponent of the power law y(x), by least squares of the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
