"""Devices of a run."""

from contextlib import AbstractContextManager, nullcontext

from experiments.running.cli import require
from experiments.running.config import RunConfig

FIELDS = ("devices", "distributed", "coordinator", "processes", "process_id", "connect_timeout")
"""Config fields that determine where a run computes, not what."""


def count(config: RunConfig, multiple: int | None) -> int:
    """Number of devices to shard the population over.

    InputError unless the population size is a multiple of `multiple` x devices; `multiple` is None
    for methods without a population.
    """
    import jax

    present = jax.device_count()
    wanted = present if jax.process_count() > 1 else config.devices
    if multiple is None:
        alone = f"1 for {config.method}, which has no population to shard"
        require(wanted in (None, 1), "--devices", wanted, alone)
        return 1
    size = config.population_size
    if wanted is None and jax.default_backend() == "cpu":
        return 1
    if wanted is None:
        return max(n for n in range(1, present + 1) if n == 1 or size % (multiple * n) == 0)
    require(wanted <= present, "--devices", wanted, f"at most {present}, the available devices")
    step = multiple * wanted
    below = size // step * step
    nearest = f"{below} or {below + step}" if below else str(step)
    if wanted > 1:
        expected = f"a multiple of {step} on {wanted} devices, such as {nearest}"
        require(size % step == 0, "--population-size", size, expected)
    return wanted


def mesh(config: RunConfig, multiple: int | None) -> AbstractContextManager:
    """Context manager that sets the mesh of the devices to shard the population over."""
    wanted = count(config, multiple)
    if wanted == 1:
        return nullcontext()
    import jax

    import gajax

    return jax.set_mesh(gajax.sharding.mesh(jax.devices()[:wanted]))
