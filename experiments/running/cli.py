"""Command lines of the experiments: flags from a frozen dataclass, one sentence for a mistake."""

import argparse
import contextlib
import dataclasses
import difflib
import io
import math
import os
import re
import reprlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    TypeVar,
    get_type_hints,
)

from experiments.running import files, setting_types

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigType = TypeVar("ConfigType", bound="DataclassInstance")

MOST = 10**9
"""Whatever is counted; far more than anybody waits for, and numbers of 32 bits hold it."""
_MOST_VALUES = 1_000
_MOST_LAYERS, _MOST_WIDTH = 100, 1_000_000
_FILE_WIDTH = 200
_FEW = f"at most {_MOST_VALUES:,} values"
_FLAG = re.compile(r"-(?!\.?\d|inf$|nan$|$)")  # negative numbers and a lone dash are values


class InputError(Exception):
    """A mistake of the user's, told in one sentence that names the flag."""


class Interrupted(KeyboardInterrupt):
    """An interruption that was waited for, told in one sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CommandParser(argparse.ArgumentParser):
    """A parser, for commands that are no config, whose mistakes are InputErrors."""

    def __init__(self, program: str, description: str | None) -> None:
        super().__init__(program, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(message)


def a_path(word: str) -> Path:
    """The path that a word of a command line is; ValueError for an empty one."""
    if not word:
        raise ValueError
    return Path(word)


def require(condition: bool, flag: str, value: object, expected: str) -> None:
    """Raise InputError unless the condition holds for the value of the flag."""
    if not condition:
        raise InputError(f"{flag} must be {expected}, not {value}")


def require_living(losses: Any, rate: float, generation: int, phase: str) -> None:
    """Raise InputError where no loss of the generation is finite."""
    if not any(map(math.isfinite, losses)):
        raise InputError(
            f"--learning-rate must be lower than {rate}, by which everybody died in generation "
            f"{generation} of phase {phase}"
        )


def flag(name: str) -> str:
    """The flag of a config's field."""
    return "--" + name.replace("_", "-")


def require_at_least(config: "DataclassInstance", lowest: dict[str, int]) -> None:
    """Raise InputError unless each field named is None or from its lowest value to a billion."""
    for name, bound in lowest.items():
        value = getattr(config, name)
        require(value is None or value >= bound, flag(name), value, f"{bound} or more")
        require(value is None or value <= MOST, flag(name), value, f"at most {MOST:,}")


def require_widths(flag: str, widths: tuple[int, ...]) -> None:
    """Raise InputError where a network of such layers would be too large for any machine."""
    count, widest = len(widths), max(widths, default=0)
    require(count <= _MOST_LAYERS, flag, f"{count:,}", f"at most {_MOST_LAYERS} widths")
    require(widest <= _MOST_WIDTH, flag, widest, f"widths of at most {_MOST_WIDTH:,}")


def parse(
    config_type: type[ConfigType],
    arguments: list[str],
    *,
    presets: dict[str, ConfigType],
    program: str,
    description: str,
) -> ConfigType:
    """Return the config of a command line: its preset (else the first), saved config, flags.

    Raises InputError for a mistake in them, and SystemExit after printing the help asked for.
    """
    # tyro reports mistakes in boxes of several lines, so it gets only what is checked here.
    words = [word for word in arguments if word not in ("-h", "--help")]
    given = _read_flags(config_type, words)
    saved = {}
    for source in {"config", "resume"} & {*given}:
        path = Path(given[source][1])
        try:
            saved = _read_config(config_type, path / "config.json" if source == "resume" else path)
        except InputError as error:
            raise InputError(f"--{source} {error}") from None
    preset = given["preset"][1] if "preset" in given else saved.get("preset", next(iter(presets)))
    default = dataclasses.replace(presets[preset], **saved)

    import tyro  # slow to import, and needed only here

    def run_tyro(args: list[str]) -> ConfigType:
        return tyro.cli(
            config_type, args=args, default=default, prog=program, description=description
        )

    if len(words) < len(arguments):
        run_tyro(["--help"])
    checked = []
    for flag, *values in given.values():
        # A single value that is joined to its flag may start with a dash.
        checked += [f"{flag}={values[0]}"] if len(values) == 1 else [flag, *values]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return run_tyro(checked)
    except SystemExit:
        text = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|-{3,}", " ", output.getvalue())
        raise InputError(text) from None


def split_command(arguments: list[str], commands: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the command that the arguments start with, None where a flag does, and the rest.

    Raises InputError where the first word is neither a flag nor a command.
    """
    if not arguments or arguments[0].startswith("-"):
        return None, arguments
    if arguments[0] not in commands:
        names = " or ".join(commands)
        raise InputError(f"the first word must be {names} or a flag, not {arguments[0]!r}")
    return arguments[0], arguments[1:]


def load_config(config_type: type[ConfigType], path: Path, base: ConfigType) -> ConfigType:
    """Return the base with the values of a saved config in place of its own.

    Raises InputError where the file is missing, too large, not JSON or does not fit the type.
    """
    return dataclasses.replace(base, **_read_config(config_type, path))


def run_main(main: Callable[[list[str]], None], program: str) -> int:
    """Run an experiment's main on the command line and return the exit status of the process."""
    try:
        try:
            main(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except InputError as error:
        return _report(program, f"error: {error}", 2)
    except Interrupted as interrupted:
        return _report(program, str(interrupted), interrupted.status)
    except KeyboardInterrupt:
        return _report(program, "interrupted", 130)
    except BrokenPipeError:
        # The interpreter flushes once more as it ends, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _report(program, "error: " + re.sub(r"^\[\w+ \d+\] ", "", str(error)), 1)
    return 0


def printable(text: object) -> str:
    """The text with a space for everything that a terminal would obey instead of showing it."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def show(*views: Any) -> None:
    """Print texts and what rich can draw on stdout, square brackets in them as they are."""
    from rich.console import Console  # late, for mistakes need none of it

    # In a file or a pipe nothing needs to be cut to the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    Console(markup=False, emoji=False, width=width).print(*views, sep="\n")


def _report(program: str, text: str, status: int) -> int:
    print(f"{program}: {' '.join(printable(text).split())}", file=sys.stderr)
    return status


def _read_flags(config_type: type, arguments: list[str]) -> dict[str, list[str]]:
    """Return the flag and the values after it for each field that the arguments name."""
    types = get_type_hints(config_type)
    names = {f"--{name}".replace("_", "-"): name for name in types}
    names |= {f"--no-{name}".replace("_", "-"): name for name in types if types[name] is bool}
    given = {}
    latest = None
    for word in arguments:
        if _FLAG.match(word):
            flag, equals, value = word.partition("=")
            known = flag.replace("_", "-")
            if known not in names:
                raise InputError(f"{flag} is not a flag; {_advice(known, list(names))}")
            given[names[known]] = latest = [known, *([value] if equals else [])]
        elif latest is None:
            raise InputError(f"{setting_types.shown(word)} must follow a flag such as {min(names)}")
        else:
            latest.append(word)
    for name, (flag, *values) in given.items():
        require(len(values) <= _MOST_VALUES, flag, f"{len(values):,}", _FEW)
        shown = setting_types.shown(" ".join(values)) if values else "left without a value"
        if types[name] is bool:
            require(not values, flag, shown, "given without a value")
        else:
            fits = setting_types.accepts(types[name], values)
            require(fits, flag, shown, setting_types.expected(types[name]))
    return given


def _advice(name: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]}?" if nearest else "--help lists what there is"


def _read_config(config_type: type, path: Path) -> dict[str, Any]:
    try:
        values = files.read_json(path)
    except OSError as error:
        raise InputError(f"{path} must be a readable file ({error.strerror})") from None
    except ValueError:
        expected = "a saved config: a JSON object of at most a megabyte"
        raise InputError(f"{path} must be {expected}") from None
    types = get_type_hints(config_type)
    for name, value in values.items():
        if name not in types:
            unknown = setting_types.shown(name)
            raise InputError(f"{path}: {unknown} is not a setting; {_advice(name, [*types])}")
        try:
            values[name] = setting_types.from_json(types[name], value)
        except (ValueError, OverflowError):
            wrong = f"{setting_types.expected(types[name])}, not {reprlib.repr(value)}"
            raise InputError(f"{path}: {name} must be {wrong}") from None
        many = len(value) if isinstance(value, list) else 0
        require(many <= _MOST_VALUES, f"{path}: {name}", f"{many:,}", _FEW)
    return values
