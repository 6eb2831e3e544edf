"""Imports run one way: read from the sources, in functions and for type checkers as well.

The core goes from types to algorithms to the loop, the experiments from what every run shares to
the entry points. A module may import what stands below it; modules of one level are apart, but
for those of one package of the experiments, which only have to be free of circles.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE_LEVELS = [
    {"types", "bits", "sharding", "sorting", "dense", "viewing"},
    {"individual", "pace", "seeds"},
    {"sparsity"},
    {"population", "context"},
    {
        "operators",
        "crossover",
        "mutation",
        "selection",
        "evaluation",
        "pareto",
        "objectives",
    },
    {"breeding", "gradients", "checks"},
    {"mating", "survivors"},
    {"fronts"},
    {"algorithms", "ga", "nsga2", "gemonn", "ladder", "descent", "pruning", "refinement"},
    {"programs"},
    {"loop"},
    {"io", "results", "ask_tell", "models"},
    {"fitting", "plotting", "methods"},
    {"estimator"},
    {"__init__"},
]
"""Modules and packages of `gajax` from the lowest on; none imports another one of its level."""

EXPERIMENT_LEVELS = [
    {"running"},
    {"reporting"},
    {"datasets"},
    {"autoencoder"},
    {"front"},
    {"classify", "benchmark", "examples"},
    {"mnist_ga", "gemonn"},
]
"""Packages and entry points of `experiments` from the lowest on."""

APART = ("gajax.operators", "gajax.algorithms")
"""Packages whose modules do not import each other."""

COMPILING = {"gajax.programs"}
"""The modules of `gajax` that may compile."""


def name_of(path):
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    name_of(path): path
    for package in ("gajax", "experiments")
    for path in sorted((ROOT / package).rglob("*.py"))
}
CORE = [name for name in SOURCES if name.startswith("gajax")]


@cache
def syntax(module):
    return list(ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))))


@cache
def imported(module):
    """Every dotted name that a module imports, wherever the import stands."""
    names = []
    for node in syntax(module):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def imports(module):
    """The other modules of this repository that a module imports.

    `from package import name` counts for the module of that name, else for the package itself.
    """
    found = set()
    for name in imported(module):
        target = name if name in SOURCES else name.rpartition(".")[0]
        if target in SOURCES:
            found.add(target)
    return found - {module}


def level(module, levels):
    """The level of a module below its top package."""
    part = module.split(".")[1] if "." in module else "__init__"
    places = [place for place, parts in enumerate(levels) if part in parts]
    assert places, f"{module} has no level"
    return places[0]


def circles(neighbours):
    """Groups of modules that import each other, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in neighbours[module]:
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in neighbours:
        if module not in index:
            visit(module)
    return found


def test_circles_are_recognised():
    neighbours = {"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set()}
    assert circles(neighbours) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other():
    assert len(SOURCES) > 60
    assert circles({module: imports(module) for module in SOURCES}) == []


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module):
    package, _, part = module.partition(".")
    levels = CORE_LEVELS if package == "gajax" else EXPERIMENT_LEVELS
    if module == "experiments":  # a package without content
        assert not imports(module)
        return
    for other in imports(module):
        if not other.startswith(package):
            continue
        same = part.split(".")[0] == other.partition(".")[2].split(".")[0]
        below = level(other, levels) < level(module, levels)
        assert below or same, f"{module} imports {other}"


@pytest.mark.parametrize("module", CORE)
def test_the_core_does_not_import_the_experiments(module):
    packages = {name.split(".")[0] for name in imported(module)}
    assert not packages & {"experiments", "tests", "notebooks"}


@pytest.mark.parametrize("package", APART)
def test_operators_and_algorithms_do_not_import_each_other(package):
    members = {name for name in SOURCES if name.startswith(f"{package}.")}
    for module in members:
        assert not imports(module) & members, module


@pytest.mark.parametrize("module", CORE)
def test_only_the_loop_compiles(module):
    words = {getattr(node, "id", getattr(node, "attr", None)) for node in syntax(module)}
    words |= {name.split(".")[-1] for name in imported(module)}
    assert module in COMPILING or not words & {"jit", "pjit"}


@pytest.mark.parametrize("module", SOURCES)
def test_private_names_stay_in_their_modules(module):
    for name in imported(module):
        package, *parts = name.split(".")
        private = [part for part in parts if part.startswith("_") and part != "__main__"]
        assert package not in ("gajax", "experiments") or not private, name
