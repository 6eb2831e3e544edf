"""Help texts: commands, and flags in groups, the common ones first."""

import argparse
import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def show(
    defaults: Any, program: str, description: str, commands: Mapping[str, str] | None = None
) -> None:
    """Print the help of a program whose flags are the fields of the dataclass `defaults`.

    The type may have `GROUPS`, which maps titles to names of fields; fields in no group come last.
    `commands` maps names to descriptions.
    """
    parser = argparse.ArgumentParser(
        program,
        usage=f"{program} [options]",
        description=description,
        epilog=_list(commands or {}, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    types, texts = get_type_hints(type(defaults)), descriptions(type(defaults))
    left = [field.name for field in dataclasses.fields(defaults)]
    groups = {**getattr(type(defaults), "GROUPS", {}), "other options": tuple(left)}
    for title, names in groups.items():
        names = [name for name in names if name in left]
        left = [name for name in left if name not in names]
        group = parser.add_argument_group(title) if names else parser
        for name in names:
            default, text = getattr(defaults, name), texts.get(name, "")
            flag = "--" + name.replace("_", "-")
            if types[name] is bool:
                action: Any = argparse.BooleanOptionalAction if default else "store_true"
                group.add_argument(flag, action=action, help=_text(text))
                continue
            if default not in (None, ()):
                text += f" (default: {_words(default)})"
            group.add_argument(flag, metavar=_metavar(types[name]), help=_text(text))
    parser.print_help()


def descriptions(config_type: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, inherited fields included."""
    texts = {}
    for part in reversed([base for base in config_type.__mro__ if dataclasses.is_dataclass(base)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                texts[ast.unparse(field.target)] = " ".join(
                    str(ast.literal_eval(text.value)).split()
                )
    return texts


def _list(commands: Mapping[str, str], program: str) -> str | None:
    """The commands with their descriptions, as lines."""
    if not commands:
        return None
    rows = [f"  {name:<10}{text}" for name, text in commands.items()]
    return "\n".join(["commands:", *rows, f"  (their flags: {program} COMMAND --help)"])


def _metavar(annotation: Any) -> str:
    members = [member for member in get_args(annotation) if member is not NoneType]
    if get_origin(annotation) in (Union, UnionType):
        return "|".join(map(_metavar, members))
    if get_origin(annotation) is Literal:
        return "{" + ",".join(map(str, members)) + "}"
    if get_origin(annotation) is tuple:
        return f"{_metavar(members[0])} [...]"
    return _METAVARS[annotation]


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    return text.replace("%", "%%")
