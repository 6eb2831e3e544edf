"""Going on with a run: what must be as it was, how often it is saved, and what is advised."""

import dataclasses
import hashlib
import math
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from experiments.running.cli import InputError, Interrupted, flag

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import DataclassInstance

HARMLESS = {
    "preset",  # the values that it stands for are compared
    "config",
    "data_dir",  # so are the images
    "checkpoint_every",
    "dry_run",
    "resume",
    "out",
    "plot",
    "quiet",
}
"""Settings that cannot change a result."""

_JAX = ("jax_default_matmul_precision", "jax_enable_x64", "jax_default_prng_impl")


def parse_interval(text: str) -> tuple[int | None, float]:
    """Generations and seconds between two checkpoints, None and infinite where not meant."""
    if text.endswith("m"):
        return None, 60 * float(text.removesuffix("m"))
    return int(text), math.inf


def config_identity(config: "DataclassInstance") -> dict[str, str]:
    """What each flag of the config that decides a result says."""
    return {
        flag(name): " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        for name, value in dataclasses.asdict(config).items()
        if name not in HARMLESS
    }


def run_identity(
    config: "DataclassInstance", seeds: list[int], arrays: "Iterable[np.ndarray]"
) -> dict[str, str]:
    """What decides the numbers of the runs of a config with those seeds and arrays, by its name."""
    import jax

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(array.tobytes())
    return {
        **config_identity(config),
        "--seed": " ".join(map(str, seeds)),
        "the content of the data set": digest.hexdigest()[:16],
        **{name: str(getattr(jax.config, name)) for name in _JAX},
    }


def refuse_differences(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """InputError that names the first thing that is not as it was."""
    for name in {**now, **saved}:
        if saved.get(name) != now.get(name):
            was = f"{name} must be {saved.get(name)}, as when the run began"
            raise InputError(f"{was}, not {now.get(name)}")


@contextmanager
def advice_on_interruption(advice: str) -> Iterator[None]:
    """Add to what is said of an interruption within the block how to go on."""
    try:
        yield
    except Interrupted as interrupted:
        raise Interrupted(f"{interrupted}; {advice}", interrupted.status) from None
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {advice}", 128 + signal.SIGINT) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(f"{error}; {advice}") from error
