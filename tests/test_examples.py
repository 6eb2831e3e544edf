"""The examples of models of users, which train them by three algorithms, are short and learn."""

import re
import runpy
from pathlib import Path

import pytest

import gajax

FOLDER = Path(__file__).parents[1] / "experiments" / "examples"
EXAMPLES = sorted({path.stem for path in FOLDER.glob("[a-z]*.py")} - {"several_hosts"})
"""Those of models; the one for several hosts is tested with several processes."""


def test_there_is_an_example_of_each_library():
    assert EXAMPLES == ["equinox_mlp", "linen_transformer", "nnx_cnn"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_at_most_25_lines(name):
    code = (FOLDER / f"{name}.py").read_text().splitlines()[1:]
    assert sum(bool(line) and not re.match("import|from", line) for line in code) <= 25


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_fits_together(name, monkeypatch):
    """Its shapes alone are looked at, by what comes before the first compilation."""
    evolve, checked = gajax.evolve, []

    def check(algorithm, *setting, **options):
        checked.append(evolve(algorithm, *setting, **options))
        return iter(())

    monkeypatch.setattr(gajax, "evolve", check)
    runpy.run_module(f"experiments.examples.{name}")
    assert len(checked) == 3


def rows_of(name, capsys):
    """What an example prints: generation, loss and accuracy."""
    runpy.run_module(f"experiments.examples.{name}")
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def assert_has_learned(rows):
    (_, first_loss, _), *_, (_, last_loss, accuracy) = rows
    assert float(last_loss) < 0.7 * float(first_loss) and float(accuracy) > 0.5


def test_an_example_learns(capsys, few_digits, monkeypatch):
    """By descent, the last of its algorithms, which takes the least time to compile."""
    evolve, calls = gajax.evolve, []

    def last(*setting, **options):
        calls.append(setting)
        return evolve(*setting, **options) if len(calls) == 3 else iter(())

    monkeypatch.setattr(gajax, "evolve", last)
    assert_has_learned(rows_of("equinox_mlp", capsys))


@pytest.mark.heavy
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_algorithm_learns(name, capsys, few_digits):
    rows = rows_of(name, capsys)
    starts = [i for i, row in enumerate(rows) if i == 0 or int(row[0]) < int(rows[i - 1][0])]
    assert len(starts) == 3
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        assert_has_learned(rows[start:stop])
