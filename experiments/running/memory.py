"""How much memory a run needs, and how much of it there is."""

import contextlib
import sys
from collections.abc import Callable, Iterator
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
"""Of a machine's memory; the rest is for everything else that runs."""

_GIGABYTE = 10**9

_PROBED = 1_000
"""Individuals that are thought of at once without looking."""

_MAX_TRACED = 4 * 2**31
"""Bytes of a network beyond which JAX cannot count its genes; a run then needs at least thrice."""


def size(tree: Any) -> int:
    """Bytes of all arrays, or of what their shapes stand for."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def needed(algorithm: gajax.Algorithm, individual: Params, individuals: int, data: Data) -> int:
    """About the bytes at the height of a run; only the shapes of individual and data matter.

    That is the state, the population as it was drawn, and in a stage another copy of the genes with
    what guides their crossover, or with the state of their optimiser.
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
    """Bytes that the device has for a run."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    import psutil

    return int(_USABLE_SHARE * min([psutil.virtual_memory().total, *cgroup_limits()]))


def cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Bytes that this process may use by the control groups of Linux, of which there may be many.

    Groups are given by their files: those of version 2 lie at the root, those of version 1 below
    `memory`, and a group has the limits of all groups around it.
    """
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                folder, name = root, "memory.max"
            elif "memory" in controllers.split(","):
                folder, name = root / "memory", "memory.limit_in_bytes"
            else:
                continue
            parts = Path(path).parts[1:]
            for depth in range(len(parts) + 1):
                # There is no file where the group is not visible, and "max" where it has no limit.
                with contextlib.suppress(OSError, ValueError):
                    yield int(folder.joinpath(*parts[:depth], name).read_text())


def peak() -> int:
    """Bytes that the device, or on a CPU this process, has held at most so far; 0 if unknown."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


class Capacity(NamedTuple):
    """How many runs fit side by side, and the bytes that each of them needs on its device."""

    runs: int
    bytes: int


def capacity(needs: Callable[[int], int], individuals: int, flag: str, widths: str) -> Capacity:
    """The runs that fit; InputError where not even one does.

    `needs(individuals)` are the bytes of a run; the flag and its widths decide what one needs.
    """
    here, counted = available(), min(individuals, _PROBED)
    # A population of billions is not even to be thought of: its indices alone fill the memory.
    while counted < individuals and needs(counted) <= here:
        counted = min(individuals, 8 * counted)
    wanted = needs(counted)
    if wanted <= here:
        # Several take up to twice a state more, because their states are stacked anew in a step.
        return Capacity(max(1, here // wanted - 1), wanted)
    least = min(individuals, 2)
    share = f"{gigabytes(here)} that this machine has for it"
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
    """The bytes in words."""
    return f"{count / _GIGABYTE:,.1f} GB"
