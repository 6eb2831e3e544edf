"""Types of settings: validation of command-line arguments and JSON values, and descriptions."""

import contextlib
import math
import os
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_NAMES = {
    NoneType: "None",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a path",
}


def quoted(words: str) -> str:
    """Quote the words, with the middle elided if they are long."""
    return repr(words if len(words) <= 200 else f"{words[:90]} ... {words[-90:]}")


def description(annotation: Any) -> str:
    """Describe the values of a type in words."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(description(member) for member in members)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, members))
    if get_origin(annotation) is tuple:
        one = description(members[0])
        if one.startswith("one of "):
            return f"one or more of {one.removeprefix('one of ')}"
        return f"one or more {one.removeprefix('a ')}s"
    return _NAMES.get(annotation, "a value")


def accepts(annotation: Any, words: list[str]) -> bool:
    """Whether command-line arguments are a value of the type."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return any(accepts(member, words) for member in members)
    if get_origin(annotation) is tuple:
        return bool(words) and all(accepts(members[0], [word]) for word in words)
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


def from_json(annotation: Any, value: Any) -> Any:
    """Convert a JSON value to the type; ValueError if it does not fit."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        for member in members:
            with contextlib.suppress(ValueError):
                return from_json(member, value)
    elif get_origin(annotation) is tuple and isinstance(value, list):
        return tuple(from_json(members[0], one) for one in value)
    elif annotation is Path and isinstance(value, str):
        if not value or b"\0" in os.fsencode(value):
            raise ValueError
        return Path(value)
    elif annotation is float:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    elif type(value) is annotation or (get_origin(annotation) is Literal and value in members):
        return value
    raise ValueError
