"""Command lines of the experiments: flags from a frozen dataclass, one sentence for a mistake."""

import argparse
import contextlib
import dataclasses
import difflib
import io
import json
import math
import os
import re
import reprlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigType = TypeVar("ConfigType", bound="DataclassInstance")

_MAXIMUM_CONFIG_BYTES = 1_000_000
_FLAG = re.compile(r"-(?!\.?\d|inf$|nan$|$)")  # negative numbers and a lone dash are values
_NAMES = {
    NoneType: "None",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a path",
}


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
    """Raise InputError unless each field named is None or at least its lowest value."""
    for name, bound in lowest.items():
        value = getattr(config, name)
        require(value is None or value >= bound, flag(name), value, f"{bound} or more")


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


def _report(program: str, text: str, status: int) -> int:
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    print(f"{program}: {' '.join(text.split())}", file=sys.stderr)
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
            raise InputError(f"{word!r} must follow a flag such as {min(names)}")
        else:
            latest.append(word)
    for name, (flag, *values) in given.items():
        shown = repr(" ".join(values)) if values else "left without a value"
        if types[name] is bool:
            require(not values, flag, shown, "given without a value")
        else:
            require(_accepts(types[name], values), flag, shown, _expected(types[name]))
    return given


def _advice(name: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]}?" if nearest else "--help lists what there is"


def _expected(annotation: Any) -> str:
    """Say in words which values a type has."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_expected(member) for member in members)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, members))
    if get_origin(annotation) is tuple:
        one = _expected(members[0])
        if one.startswith("one of "):
            return f"one or more of {one.removeprefix('one of ')}"
        return f"one or more {one.removeprefix('a ')}s"
    return _NAMES.get(annotation, "a value")


def _accepts(annotation: Any, words: list[str]) -> bool:
    """Whether the words of a command line are a value of the type."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return any(_accepts(member, words) for member in members)
    if get_origin(annotation) is tuple:
        return bool(words) and all(_accepts(members[0], [word]) for word in words)
    if len(words) != 1:
        return False
    if get_origin(annotation) is Literal:
        return words[0] in map(str, members)
    if annotation is NoneType:
        return words[0] == "None"
    if annotation in (int, float):
        try:
            return math.isfinite(annotation(words[0]))
        except (ValueError, OverflowError):
            return False
    return words[0] != ""


def _read_config(config_type: type, path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_CONFIG_BYTES + 1)
        values = json.loads(content) if len(content) <= _MAXIMUM_CONFIG_BYTES else None
    except OSError as error:
        raise InputError(f"{path} must be a readable file ({error.strerror})") from None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError(f"{path} must be a saved config: a JSON object of at most a megabyte")
    types = get_type_hints(config_type)
    for name, value in values.items():
        if name not in types:
            raise InputError(f"{path}: {name!r} is not a setting; {_advice(name, [*types])}")
        try:
            values[name] = _from_json(types[name], value)
        except (ValueError, OverflowError):
            wrong = f"{_expected(types[name])}, not {reprlib.repr(value)}"
            raise InputError(f"{path}: {name} must be {wrong}") from None
    return values


def _from_json(annotation: Any, value: Any) -> Any:
    """Return the value of the type that JSON has saved, raising ValueError where it is none."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        for member in members:
            with contextlib.suppress(ValueError):
                return _from_json(member, value)
    elif get_origin(annotation) is tuple and isinstance(value, list):
        return tuple(_from_json(members[0], one) for one in value)
    elif annotation is Path and isinstance(value, str):
        return Path(value)
    elif annotation is float:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    elif type(value) is annotation or (get_origin(annotation) is Literal and value in members):
        return value
    raise ValueError
