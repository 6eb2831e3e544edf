"""The processes of a distributed run, from their meeting to their common end."""

import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from typing import NoReturn, TypeVar

from experiments.running import aborts, meeting, signals
from experiments.running.cli import Failed, InputError, Interrupted
from experiments.running.config import RunConfig
from experiments.running.hosts import ALONE, Hosts

ConfigType = TypeVar("ConfigType", bound=RunConfig)


@contextmanager
def together(config: RunConfig, program: str) -> Iterator[Hosts]:
    """Meet the other processes of a distributed run, and end together with them.

    Yields this process alone unless the run is distributed. The standard output of all processes
    but the first is discarded. An exception in one process ends the others with its message; a
    process that is lost ends them with exit status 2 before the run has begun, else 1.
    """
    if not config.distributed:
        yield ALONE
        return
    with signals.ending(program):  # it may import JAX
        text, count, index = _place(config)
    address = meeting.parse_address(text)
    options = {"seconds": config.connect_timeout, "program": program, "quiet": config.quiet}
    hosts = meeting.meet(address, count, index, **options)
    try:
        with nullcontext() if hosts.reports else redirect_stdout(StringIO()):
            yield hosts
        # From here on it would be too late for process 0 to take the others along.
        with signals.handled(lambda *_: None) if hosts.reports else nullcontext():
            hosts.end()
    except BaseException as error:
        _end(hosts, error)


def connect(hosts: Hosts, config: RunConfig) -> None:
    """Let JAX connect the processes that have met."""
    if hosts is ALONE:
        return
    import jax

    address = hosts.address
    with suppress(AttributeError):  # it would swallow SIGTERM
        jax.config.update("jax_enable_preemption_service", False)
    aborts.explain(hosts.exit)
    try:
        jax.distributed.initialize(
            str(address),
            hosts.count,
            hosts.index,
            initialization_timeout=math.ceil(config.connect_timeout),
            coordinator_bind_address=str(address) if address.is_local else None,
        )
    except (RuntimeError, ValueError) as error:
        hosts.raise_failure(1)
        reason = " ".join(str(error).split())
        raise InputError(f"--coordinator {address} cannot be used by JAX: {reason}") from None


def arguments(config: RunConfig) -> list[str]:
    """The flags that start this process of a distributed run, and no others."""
    if not config.distributed:
        return []
    given = (config.coordinator, config.processes, config.process_id)
    words = ["--distributed"]
    for name, value in zip(("coordinator", "processes", "process-id"), given, strict=True):
        words += [] if value is None else [f"--{name}", str(value)]
    return words


def forgotten(config: ConfigType) -> ConfigType:
    """The config without what belongs to one call of the program, for its `config.json`."""
    nothing = dict.fromkeys(("config", "out", "resume", "coordinator", "processes", "process_id"))
    return replace(config, **nothing, distributed=False)


def exit_status(run: Callable[[], int]) -> int:
    """Call `run`, which returns the status to exit with.

    If the processes are connected, this process ends here, because JAX would wait for the others.
    """
    try:
        status = run()
    except Exception:
        if not _is_connected():
            raise
        traceback.print_exc()
        status = 1
    if _is_connected():
        sys.stderr.flush()
        os._exit(status)
    return status


def _is_connected() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _place(config: RunConfig) -> tuple[str, int, int]:
    """The coordinator, the number of processes and the index of this one.

    Detected as JAX does unless they are given.
    """
    if config.coordinator is not None:
        assert config.processes is not None and config.process_id is not None
        return config.coordinator, config.processes, config.process_id
    found = None, None, None
    wanted = "--coordinator HOST:PORT, --processes N and --process-id I"
    try:
        from jax._src.clusters import ClusterEnv  # JAX has no public function for it

        detect = ClusterEnv.auto_detect_unset_distributed_params
        address = os.environ.get("JAX_COORDINATOR_ADDRESS")
        found = detect(address, None, None, None, None, math.ceil(config.connect_timeout))[:3]
    except Exception as error:  # of any kind, from an incomplete environment
        reason = " ".join(str(error).split())
        raise InputError(f"--distributed needs a cluster, or {wanted}: {reason}") from None
    address, count, index = found
    if address is None or count is None or index is None:
        raise InputError(f"--distributed needs a cluster, or {wanted}: none was detected")
    return address, count, index


def _end(hosts: Hosts, error: BaseException) -> NoReturn:
    """Let the other processes end because of the error, and raise it."""
    if isinstance(error, RuntimeError | ValueError):  # of JAX, for a connection that has broken
        try:
            hosts.raise_failure(2)
        except Failed as failure:
            error = failure
    status = 1
    if isinstance(error, Failed | Interrupted):
        status = error.status
    elif isinstance(error, InputError):
        status = 2
    elif isinstance(error, KeyboardInterrupt):
        status = 130
    text = str(error).removesuffix(hosts.leave()) or "interrupted"
    if not isinstance(error, Failed | InputError | OSError | KeyboardInterrupt):
        text = f"{type(error).__name__}: {text}"
    hosts.fail(text, status)
    raise error
