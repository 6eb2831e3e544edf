"""Resuming a run: settings that must match, checkpoint intervals, and advice to the user."""

import dataclasses
import hashlib
import math
import platform
import re
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.running import numerics, run_directory
from experiments.running.cli import InputError, Interrupted, flag, is_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import DataclassInstance

_FORMAT = "the format of checkpoints"
_OUT_OF_MEMORY = (
    "memory has run out: end other programs, or begin anew with a lower --population-size, "
    "--batch-size or --chunk-size, which a run keeps when it is resumed"
)
HARMLESS = {
    "preset",  # its values are compared
    "config",
    "data_dir",  # the images are compared
    "distributed",
    "coordinator",
    "processes",
    "process_id",
    "connect_timeout",
    "checkpoint_every",
    "discard_state",
    "dry_run",
    "resume",
    "out",
    "plot",
    "quiet",
}
"""Settings that do not affect results."""


def parse_interval(text: str) -> tuple[int | None, float]:
    """Generations (None if not given) and seconds (infinite if not given) between checkpoints."""
    if text.endswith("m"):
        return None, 60 * float(text.removesuffix("m"))
    return int(text), math.inf


def config_identity(config: "DataclassInstance") -> dict[str, str]:
    """The values of all flags that affect results."""
    return {
        flag(name): " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        for name, value in dataclasses.asdict(config).items()
        if name not in HARMLESS
    }


def run_identity(
    config: "DataclassInstance", seeds: list[int], arrays: "Iterable[np.ndarray]"
) -> dict[str, str]:
    """All settings that affect the results of runs, with a digest of the data, by name."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(array.tobytes())
    return {
        _FORMAT: "5",  # one more where older checkpoints cannot be read, or go on to other numbers
        **config_identity(config),
        "--seed": " ".join(map(str, seeds)),
        "the content of the data set": digest.hexdigest()[:16],
        **numerics.in_effect(),
    }


def machine() -> str:
    """The device and the versions that results depend on up to rounding."""
    import jax

    kind, processor = jax.devices()[0].device_kind, platform.processor() or platform.machine()
    with suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        processor = found[1] if found else processor
    return f"{processor if kind == 'cpu' else kind} with JAX {jax.__version__}"


def refuse_differences(
    saved: Mapping[str, str], now: Mapping[str, str], allowed: Collection[str] = ()
) -> None:
    """Raise InputError that names the first difference, except in the flags that are allowed."""
    if saved.get(_FORMAT) != now.get(_FORMAT):
        found = f"{now.get(_FORMAT)}, not {saved.get(_FORMAT, 1)}"
        raise InputError(
            f"--resume must name a run of this version of the program, whose checkpoints have "
            f"format {found}: end it with the version that began it"
        )
    for name in {**now, **saved}:
        # A flag that the version lacked which began the run has been compared by its default.
        if name not in saved and name.startswith("--"):
            continue
        if saved.get(name) != now.get(name) and name not in allowed:
            was = f"{name} must be {saved.get(name)}, as at the start of the run"
            raise InputError(f"{was}, not {now.get(name)}")


@contextmanager
def advice_on_interruption(leave: Callable[[], str]) -> Iterator[None]:
    """Add what `leave()` gives to interruptions within the block, and to full disks and memory."""
    try:
        yield
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as error:
        status = error.status if isinstance(error, Interrupted) else 128 + signal.SIGINT
        raise Interrupted(f"{str(error) or 'interrupted'}{leave()}", status) from None
    except OSError as error:
        raise OSError(f"{error}{leave()}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"{_OUT_OF_MEMORY}{leave()}") from error


def leave(advice: str, directory: Path, writes: bool = True) -> str:
    """What a sentence on the early end of a run or a comparison ends in, by what is there.

    An empty directory is removed. A process that does not write the results says nothing of a
    directory in which another one may just have begun to write.
    """
    if run_directory.is_finished(directory):
        return f"; {directory} is finished"
    if directory.is_dir() and run_directory.has_begun(directory):
        return f"; {advice}"
    if not writes:
        return ""
    if not directory.is_dir():
        return f"; the directory {directory} is gone"
    run_directory.remove(directory)
    return "; nothing was written"
