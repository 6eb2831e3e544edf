"""Command lines: exit status, commands, and what is printed."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from rich.table import Table

from experiments.running import cli

ROOT = Path(__file__).parents[2]


def run(monkeypatch: pytest.MonkeyPatch, main) -> int:
    monkeypatch.setattr(sys, "argv", ["mnist_ga"])
    return cli.run_main(main, "mnist_ga")


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (KeyboardInterrupt(), 130, "mnist_ga: interrupted\n"),
        (OSError(28, "No space left", "runs/x"), 1, "mnist_ga: error: No space left: 'runs/x'\n"),
        (cli.InputError("--out must\n be new"), 2, "mnist_ga: error: --out must be new\n"),
        (MemoryError(), 2, f"mnist_ga: error: {cli.OUT_OF_MEMORY}\n"),
        (ValueError("RESOURCE_EXHAUSTED: x\ny"), 2, f"mnist_ga: error: {cli.OUT_OF_MEMORY}\n"),
    ],
)
def test_run_main(error: BaseException, status: int, expected: str, monkeypatch, capsys):
    def failing(_: list[str]) -> None:
        raise error

    assert run(monkeypatch, failing) == status
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("make", [np.ones, jnp.ones])
def test_arrays_larger_than_any_memory(make, monkeypatch, capsys):
    assert run(monkeypatch, lambda _: make((2**46,), np.float32)) == 2
    assert capsys.readouterr() == ("", f"mnist_ga: error: {cli.OUT_OF_MEMORY}\n")


def test_run_main_passes_bugs_on(monkeypatch):
    assert run(monkeypatch, lambda _: None) == 0
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, lambda _: 1 / 0)


def test_split_command():
    commands = ("predict", "compare")
    assert cli.split_command([], commands) == (None, [])
    assert cli.split_command(["--help"], commands) == (None, ["--help"])
    assert cli.split_command(["predict", "--help"], commands) == ("predict", ["--help"])


def test_broken_pipe_is_quiet_and_nothing_heavy_is_imported():
    code = (
        "import sys; from experiments.running import cli\n"
        "assert not {'jax', 'sklearn', 'matplotlib', 'tyro', 'rich'} & set(sys.modules)\n"
        "sys.exit(cli.run_main(lambda _: print('x'), 'mnist_ga'))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, b"")


def test_nothing_is_cut_where_there_is_no_terminal(capsys):
    view = Table("a" * 60, "b" * 60)
    cli.show(view, "c" * 150)
    lines = capsys.readouterr().out.splitlines()
    assert "a" * 60 in lines[1] and "b" * 60 in lines[1] and lines[-1] == "c" * 150
