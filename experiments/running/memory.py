"""Memory that runs need and that is available."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax

import gajax
from experiments.running.cli import InputError
from gajax.types import Data, Params

try:
    import resource
except ImportError:  # on Windows
    resource = None

_USABLE_SHARE = 0.9
"""Share of a machine's memory for runs; the rest is left for other processes."""

_RESERVED = 2**29
"""Bytes of a process for threads and compiled programs to come, without which XLA may hang."""

_GIGABYTE = 10**9

_PROBED = 1_000
"""Population size up to which memory is estimated directly."""

_MAX_TRACED = 4 * 2**31
"""Bytes of a network beyond which JAX cannot index its genes; the estimate is 3 populations."""


def size(tree: Any) -> int:
    """Bytes of all arrays or shape structs of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def needed(algorithm: gajax.Algorithm, individual: Params, individuals: int, data: Data) -> int:
    """Estimate the peak bytes of a run from the shapes of an individual and of the data.

    Counts the state, the initial population, and for a stage another copy of the genes with the
    guide of the crossover or the optimiser state.
    """
    population = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((individuals, *leaf.shape), leaf.dtype), individual
    )
    if size(individual) >= _MAX_TRACED:
        return 3 * size(population)
    state = jax.eval_shape(algorithm.init, data.order_key, population, data)
    beside_genes = [size(getattr(state, name, None)) for name in ("guide", "optimizer_state")]
    in_stage = size(population) + max(beside_genes)
    return size(state) + size(population) + in_stage + size(data)


def available() -> int:
    """Bytes available to a run on the device."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    import psutil

    limits = psutil.virtual_memory().total, *cgroup_limits(), *process_limits()
    return int(_USABLE_SHARE * min(limits))


def process_limits() -> Iterator[int]:
    """Bytes that the limits of this process, such as `ulimit -v`, leave to it."""
    import psutil

    if resource is None:
        return
    used = psutil.Process().memory_info()
    taken = {"RLIMIT_AS": used.vms, "RLIMIT_DATA": getattr(used, "data", 0)}
    for name, count in taken.items():
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - count - _RESERVED)


def cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Memory limits in bytes that the Linux control groups of this process impose.

    Files of version 2 are at the root, those of version 1 below `memory`; a group is also subject
    to the limits of its ancestors. Beyond `memory.high` its processes are slowed down.
    """
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                folder, names = root, ("memory.max", "memory.high")
            elif "memory" in controllers.split(","):
                folder, names = root / "memory", ("memory.limit_in_bytes",)
            else:
                continue
            parts = Path(path).parts[1:]
            for depth, name in product(range(len(parts) + 1), names):
                # The file is missing if the group is not visible, and reads "max" without a limit.
                with contextlib.suppress(OSError, ValueError):
                    yield int(folder.joinpath(*parts[:depth], name).read_text())


def peak() -> int:
    """Peak bytes in use so far by the device, or on a CPU by this process; 0 if unknown."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


class Capacity(NamedTuple):
    """How many runs fit in memory together, and the bytes of each on its device."""

    runs: int
    bytes: int


def capacity(needs: Callable[[int], int], individuals: int, flag: str, widths: str) -> Capacity:
    """The number of runs that fit; InputError if not even one does.

    Args:
      needs: `needs(individuals)`, the bytes of a run.
      individuals: population size.
      flag, widths: name and value of the flag that sets the size of an individual.
    """
    here, counted = available(), min(individuals, _PROBED)
    # Grow step by step: even the shapes of billions of individuals would fill the memory.
    while counted < individuals and needs(counted) <= here:
        counted = min(individuals, 8 * counted)
    wanted = needs(counted)
    if wanted <= here:
        # Several runs need up to two more states, because a step stacks their states.
        return Capacity(max(1, here // wanted - 1), wanted)
    least = min(individuals, 2)
    share = f"{gigabytes(here)} available on this machine"
    if needs(least) > here:
        raise InputError(
            f"{flag} must be narrower, not {widths}, for which {least} individuals need "
            f"{gigabytes(needs(least))} of the {share}"
        )
    slope = (wanted - needs(least)) / (counted - least)
    wanted += slope * (individuals - counted)
    most = least + int((here - needs(least)) / slope)
    raise InputError(
        f"--population-size must be at most {most:,} here, not {individuals}, which needs "
        f"{gigabytes(wanted)} of the {share}"
    )


def gigabytes(count: float) -> str:
    """Format a number of bytes."""
    return f"{count / _GIGABYTE:,.1f} GB"
