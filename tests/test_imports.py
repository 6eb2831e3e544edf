"""Who may know whom, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"types", "sharding", "bits"},
    {"population"},
    {"crossover", "mutation", "selection", "evaluation", "breeding", "pareto", "sparse"},
    {"fronts"},
    {"ga", "nsga2", "gemonn", "gradient", "refinement"},
    {"run", "checkpoint"},
    {"__init__"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
SOURCES = {path.stem: path for path in sorted((ROOT / "gajax").glob("*.py"))}


def syntax(path):
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imported(path):
    """Every dotted name that a file imports, wherever it stands."""
    for node in syntax(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def neighbours(path):
    """The modules of gajax that a file imports."""
    for name in imported(path):
        package, *rest = name.split(".")
        if package == "gajax":
            yield rest[0] if rest else "__init__"


def test_every_module_has_its_level():
    assert len(SOURCES) >= 10
    assert set(SOURCES) <= set(LEVEL)


@pytest.mark.parametrize("module", SOURCES)
def test_modules_know_only_those_below_them(module):
    for other in neighbours(SOURCES[module]):
        assert LEVEL.get(other, 99) < LEVEL[module], f"{module} imports {other}"


@pytest.mark.parametrize("module", SOURCES)
def test_gajax_does_not_know_the_experiments(module):
    packages = {name.split(".")[0] for name in imported(SOURCES[module])}
    assert not packages & {"experiments", "tests", "notebooks"}


@pytest.mark.parametrize("module", SOURCES)
def test_only_run_compiles(module):
    words = {getattr(node, "id", getattr(node, "attr", None)) for node in syntax(SOURCES[module])}
    words |= {name.split(".")[-1] for name in imported(SOURCES[module])}
    assert bool(words & {"jit", "pjit"}) == (module == "run")


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.py")), ids=lambda p: p.stem)
def test_experiments_use_public_names_of_gajax(path):
    for name in imported(path):
        package, *rest = name.split(".")
        assert package != "gajax" or not any(part.startswith("_") for part in rest)
