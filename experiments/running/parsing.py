"""Parsing of flags and config files into a frozen dataclass, with one-sentence errors."""

import contextlib
import dataclasses
import difflib
import io
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from experiments.running import files, help, setting_types
from experiments.running.cli import InputError, require

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigType = TypeVar("ConfigType", bound="DataclassInstance")

_MAX_VALUES = 1_000
_FEW = f"at most {_MAX_VALUES:,} values"
_FLAG = re.compile(r"-(?!\.?\d|inf$|nan$|$)")  # negative numbers and a lone dash are values


def parse(
    config_type: type[ConfigType],
    arguments: list[str],
    *,
    presets: dict[str, ConfigType],
    program: str,
    description: str,
    commands: Mapping[str, str] | None = None,
) -> ConfigType:
    """Return the config of a command line: the preset (by default the first), overridden by the
    saved config and then by flags.

    Raises InputError for invalid input, and SystemExit after printing help.
    """
    # tyro reports errors in boxes of several lines, so the input is validated first.
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

    if len(words) < len(arguments):
        help.show(default, program, description, commands)
        raise SystemExit(0)

    import tyro  # late, because it is slow to import

    checked = []
    for flag, *values in given.values():
        # Joined to its flag, a single value may start with a dash.
        checked += [f"{flag}={values[0]}"] if len(values) == 1 else [flag, *values]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return tyro.cli(config_type, args=checked, default=default, prog=program)
    except SystemExit:
        text = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|-{3,}", " ", output.getvalue())
        raise InputError(text) from None


def load_config(config_type: type[ConfigType], path: Path, base: ConfigType) -> ConfigType:
    """Return the base with the values of a saved config.

    Raises InputError if the file is missing, too large, not JSON or does not fit the type.
    """
    return dataclasses.replace(base, **_read_config(config_type, path))


def _read_flags(config_type: type, arguments: list[str]) -> dict[str, list[str]]:
    """Return the flag and its values for each field in the arguments."""
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
            raise InputError(
                f"{setting_types.quoted(word)} must follow a flag such as {min(names)}"
            )
        else:
            latest.append(word)
    for name, (flag, *values) in given.items():
        require(len(values) <= _MAX_VALUES, flag, f"{len(values):,}", _FEW)
        shown = setting_types.quoted(" ".join(values)) if values else "left without a value"
        if types[name] is bool:
            require(not values, flag, shown, "given without a value")
        else:
            fits = setting_types.accepts(types[name], values)
            require(fits, flag, shown, setting_types.description(types[name]))
    return given


def _advice(name: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]}?" if nearest else "see --help"


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
            unknown = setting_types.quoted(name)
            raise InputError(f"{path}: {unknown} is not a setting; {_advice(name, [*types])}")
        try:
            values[name] = setting_types.from_json(types[name], value)
        except (ValueError, OverflowError):
            wrong = f"{setting_types.description(types[name])}, not {reprlib.repr(value)}"
            raise InputError(f"{path}: {name} must be {wrong}") from None
        many = len(value) if isinstance(value, list) else 0
        require(many <= _MAX_VALUES, f"{path}: {name}", f"{many:,}", _FEW)
    return values
