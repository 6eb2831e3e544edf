"""Every public name is in the reference, with an example that runs."""

import doctest
import importlib
import inspect
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pages
import pytest

import gajax

IMPORTS = {"gajax": gajax, "jax": jax, "jnp": jnp, "np": np, "optax": optax}
"""What the reference says that its examples assume."""

OPTIONAL = ("estimator",)
"""Public modules that `import gajax` leaves out."""


def exported():
    """The names that `gajax/__init__.py` gives, and what they stand for."""
    source = (pages.ROOT / "gajax" / "__init__.py").read_text()
    names = re.findall(r"^from \S+ import \w+ as (\w+)$", source, flags=re.MULTILINE)
    assert len(names) == len(re.findall(r"^from ", source, flags=re.MULTILINE)) > 50
    return {name: getattr(gajax, name) for name in names}


def functions_of(module):
    """The functions and classes that a module defines, whose names have no underscore."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__
        and callable(thing)
        and hasattr(thing, "__name__")
        and not name.startswith("_")
    }


def public():
    """What is public by its dotted name; of several names of one thing, the shortest."""
    named = exported() | {name: importlib.import_module(f"gajax.{name}") for name in OPTIONAL}
    modules = {name: thing for name, thing in named.items() if isinstance(thing, types.ModuleType)}
    found = {f"gajax.{name}": thing for name, thing in named.items() if name not in modules}
    known = {id(thing) for thing in found.values()}
    for prefix, module in modules.items():
        for name, thing in functions_of(module).items():
            if id(thing) not in known:
                found[f"gajax.{prefix}.{name}"] = thing
    return found


PUBLIC = public()


def documented():
    """The names that the pages of the reference have entries for."""
    found = []
    for page in sorted((pages.BOOK / "api").glob("*.rst")):
        module = ""
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            elif match := re.match(r"\.\. auto(?:function|class):: (\S+)", line):
                found.append(f"{module}.{match[1]}")
    return found


def test_each_public_name_has_one_entry():
    entries = documented()
    assert len(entries) == len(set(entries)) > 120
    assert set(entries) == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_an_example(name):
    assert "\nExample:\n  >>> " in inspect.getdoc(PUBLIC[name])


@pytest.mark.parametrize("name", PUBLIC)
def test_its_example_gives_what_it_shows(name, capsys):
    text = inspect.getdoc(PUBLIC[name])
    test = doctest.DocTestParser().get_doctest(text, dict(IMPORTS), name, None, 0)
    failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert tried and not failed, capsys.readouterr().out


def test_a_wrong_example_is_noticed():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None).failed == 1
