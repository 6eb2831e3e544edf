"""Command lines of the experiments: input errors, validation, output and exit status."""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_COUNT = 10**9
"""Largest value of any count: beyond any reasonable run time, and within 32 bits."""
OUT_OF_MEMORY = "memory has run out: end other programs, or use a machine that has more"
_MAX_LAYERS, _MAX_WIDTH = 100, 1_000_000
_FILE_WIDTH = 200


class InputError(Exception):
    """An error in the user's input, described in one sentence that names the flag."""


class Interrupted(KeyboardInterrupt):
    """An interruption by a stop signal, described in one sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Failed(Exception):
    """The end of a run because of another process of it, described in one sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CommandParser(argparse.ArgumentParser):
    """An argument parser that raises InputError, for commands without a config dataclass."""

    def __init__(self, program: str, description: str | None) -> None:
        super().__init__(program, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(message)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, NumPy or XLA says that memory has run out."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def nonempty_path(word: str) -> Path:
    """Convert a command-line argument to a path; ValueError if it is empty."""
    if not word:
        raise ValueError
    return Path(word)


def require(condition: bool, flag: str, value: object, expected: str) -> None:
    """Raise InputError unless the condition on the flag's value is true."""
    if not condition:
        raise InputError(f"{flag} must be {expected}, not {value}")


def require_finite_loss(losses: Any, rate: float, generation: int, phase: str) -> None:
    """Raise InputError if no loss of the generation is finite."""
    if not any(map(math.isfinite, losses)):
        raise InputError(
            f"--learning-rate must be lower than {rate}, at which no loss was finite in generation "
            f"{generation} of phase {phase}"
        )


def flag(name: str) -> str:
    """The command-line flag of a config field."""
    return "--" + name.replace("_", "-")


def require_at_least(config: "DataclassInstance", lowest: dict[str, int]) -> None:
    """Raise InputError unless each named field is None or from its lowest value to MAX_COUNT."""
    for name, bound in lowest.items():
        value = getattr(config, name)
        require(value is None or value >= bound, flag(name), value, f"{bound} or more")
        require(value is None or value <= MAX_COUNT, flag(name), value, f"at most {MAX_COUNT:,}")


def require_widths(flag: str, widths: tuple[int, ...]) -> None:
    """Raise InputError if the layers would make a network too large for any machine."""
    count, widest = len(widths), max(widths, default=0)
    require(count <= _MAX_LAYERS, flag, f"{count:,}", f"at most {_MAX_LAYERS} widths")
    require(widest <= _MAX_WIDTH, flag, widest, f"widths of at most {_MAX_WIDTH:,}")


def split_command(arguments: list[str], commands: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Split off the command, None if the first argument is a flag.

    Raises InputError if the first argument is neither a flag nor a command.
    """
    if not arguments or arguments[0].startswith("-"):
        return None, arguments
    if arguments[0] not in commands:
        names = " or ".join(commands)
        raise InputError(f"the first argument must be {names} or a flag, not {arguments[0]!r}")
    return arguments[0], arguments[1:]


def run_main(main: Callable[[list[str]], None], program: str) -> int:
    """Run an experiment's main on the command line and return the exit status of the process."""
    try:
        try:
            main(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except InputError as error:
        return _report(program, f"error: {error}", 2)
    except Failed as failure:
        return _report(program, f"error: {failure}", failure.status)
    except Interrupted as interrupted:
        return _report(program, str(interrupted), interrupted.status)
    except KeyboardInterrupt:
        return _report(program, "interrupted", 130)
    except BrokenPipeError:
        # The interpreter flushes again on exit, which must not raise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _report(program, "error: " + re.sub(r"^\[\w+ \d+\] ", "", str(error)), 1)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _report(program, f"error: {OUT_OF_MEMORY}", 2)
    return 0


def printable(text: object) -> str:
    """Replace control characters by spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def show(*views: Any) -> None:
    """Print texts and rich renderables to stdout, without interpreting markup."""
    from rich.console import Console  # late, because error messages do not need it

    # Do not wrap the output of files and pipes at the width of a terminal.
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    Console(markup=False, emoji=False, width=width).print(*views, sep="\n")


def _report(program: str, text: str, status: int) -> int:
    print(f"{program}: {' '.join(printable(text).split())}", file=sys.stderr)
    return status
