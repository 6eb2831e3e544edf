"""Where a run computes: on how many devices, and together with which other processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from io import StringIO

from experiments.running.cli import InputError, require
from experiments.running.config import RunConfig

FIELDS = ("devices", "distributed", "coordinator", "processes", "process_id")
"""Settings of a config that say where its run computes, not what."""


@contextmanager
def connected(config: RunConfig, program: str) -> Iterator[bool]:
    """The other processes of a distributed run for the block; gives whether this one reports.

    What the others would print is lost.
    Where one of them is gone, the others end: at once and with a sentence where their connection
    breaks, else aborted by JAX after the 100 seconds that it allows without a heartbeat.
    """
    if not config.distributed:
        yield True
        return
    import jax

    try:
        jax.distributed.initialize(config.coordinator, config.processes, config.process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        wanted = "--coordinator HOST:PORT, --processes N and --process-id I"
        raise InputError(f"--distributed must find a cluster, or have {wanted}: {reason}") from None
    try:
        reports = jax.process_index() == 0
        with nullcontext() if reports else redirect_stdout(StringIO()):
            yield reports
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        print(f"{program}: error: another process of this run is gone ({reason})", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for the one that is gone


def count(config: RunConfig, multiple: int | None) -> int:
    """Devices that share the population, whose size must be a multiple of `multiple` x devices.

    InputError where that is not so; None stands for a method without a population to share.
    """
    import jax

    there = jax.device_count()
    wanted = there if jax.process_count() > 1 else config.devices
    if multiple is None:
        alone = f"1 for {config.method}, which has no population to share"
        require(wanted in (None, 1), "--devices", wanted, alone)
        return 1
    size = config.population_size
    if wanted is None and jax.default_backend() == "cpu":
        return 1
    if wanted is None:
        return max(n for n in range(1, there + 1) if n == 1 or size % (multiple * n) == 0)
    require(wanted <= there, "--devices", wanted, f"at most {there}, which is all there are")
    step = multiple * wanted
    below = size // step * step
    nearest = f"{below} or {below + step}" if below else str(step)
    if wanted > 1:
        expected = f"a multiple of {step} on {wanted} devices, such as {nearest}"
        require(size % step == 0, "--population-size", size, expected)
    return wanted


def mesh(config: RunConfig, multiple: int | None) -> AbstractContextManager:
    """The devices that share the population, as the context of a training."""
    wanted = count(config, multiple)
    if wanted == 1:
        return nullcontext()
    import jax

    import gajax

    return jax.set_mesh(gajax.sharding.mesh(jax.devices()[:wanted]))
