"""Going on with a run: what must be as it was, how often it is saved, and what is advised."""

import dataclasses
import hashlib
import math
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from experiments.running.cli import InputError, Interrupted, flag, load_config, require

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from experiments.datasets.catalog import Dataset

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


def check(config: Any) -> None:
    """InputError where `--checkpoint-every` or `--resume` is wrong, or goes with other settings."""
    every = config.checkpoint_every
    is_interval = re.fullmatch(r"0*[1-9]\d{0,8}|(\d{1,9}(\.\d*)?|\.\d+)m", every)
    expected = "a number of generations, such as 10, or of minutes, such as 5m"
    require(bool(is_interval), "--checkpoint-every", every, expected)
    if config.dry_run and config.distributed:
        raise InputError("--dry-run must be left out with --distributed")
    if config.resume is None:
        return
    for name in ("config", "out", "distributed", "dry_run"):
        if getattr(config, name):
            raise InputError(f"{flag(name)} must be left out with --resume")
    saved = load_config(type(config), config.resume / "config.json", type(config)())
    refuse_differences(of_config(saved), of_config(config))


def interval(every: str) -> tuple[int | None, float]:
    """Generations and seconds between two checkpoints, None and infinite where not meant."""
    if every.endswith("m"):
        return None, 60 * float(every.removesuffix("m"))
    return int(every), math.inf


def of_config(config: "DataclassInstance") -> dict[str, str]:
    """What each flag of the config that decides a result says."""
    return {
        flag(name): " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        for name, value in dataclasses.asdict(config).items()
        if name not in HARMLESS
    }


def of_run(config: "DataclassInstance", seeds: list[int], dataset: "Dataset") -> dict[str, str]:
    """What decides the numbers of the runs of a config with those seeds, by its name."""
    import jax

    digest = hashlib.sha256()
    for array in dataset[2:]:
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(array.tobytes())
    return {
        **of_config(config),
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
def advising(advice: str) -> Iterator[None]:
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
