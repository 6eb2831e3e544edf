"""What all processes of a distributed run must have in common."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.running import resuming, seeds
from experiments.running.cli import InputError, flag
from experiments.running.config import RunConfig
from experiments.running.hosts import Hosts

_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint", "scikit-learn")
_COMMON = ("resume", "discard_state")
"""Settings that change no numbers but what the processes do together."""


def facts(config: RunConfig, arrays: Any, program: str) -> dict[str, str]:
    """Settings, data, versions and code of this process, by name.

    Args:
      config: complete and checked.
      arrays: of the data set.
      program: name of the experiment.
    """
    import jax

    given = [config.seed] if config.seeds is None else [*seeds.expand(config.seeds, config.seed)]
    return {
        "the experiment": program,
        **{name: _version(name) for name in _PACKAGES},
        "the code of gajax": _digest_of_code(),
        "jax_platforms": str(getattr(jax.config, "jax_platforms", None)),
        **{flag(name): str(_absolute(getattr(config, name))) for name in _COMMON},
        **resuming.run_identity(config, given, arrays),
    }


def require_same(hosts: Hosts, found: Mapping[str, str]) -> None:
    """Raise InputError, in all processes, unless the facts of all are the same."""
    every = hosts.gather(found)
    difference = hosts.share(lambda: _difference(every))
    if difference:
        raise InputError(difference)


def _difference(every: list[Mapping[str, str]]) -> str | None:
    """Describe the first difference from process 0, if any."""
    first = every[0]
    for index, found in enumerate(every):
        for name in {**first, **found}:
            if first.get(name) != found.get(name):
                values = f"{first.get(name)} in process 0 and {found.get(name)} in process {index}"
                return f"{name} must be the same in all processes, not {values}"
    return None


def _absolute(value: Any) -> Any:
    return value.resolve() if isinstance(value, Path) else value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _digest_of_code() -> str:
    """A digest of the sources of the library and the experiments."""
    import gajax

    digest = hashlib.sha256()
    packages = Path(gajax.__file__).parent, Path(__file__).parents[1]
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{path.relative_to(package.parent)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
