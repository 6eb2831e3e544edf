"""What every mistake and every file that is not what it should be must come to."""

import os
import tracemalloc

from experiments import gemonn, mnist_ga
from experiments.running.cli import run_main

MAINS = {"mnist_ga": mnist_ga.main, "gemonn": gemonn.main}


def listing(folder):
    """All below the folder, with the times at which it was last written."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def refused(arguments, folder, monkeypatch, capsys, *, most=None):
    """The one sentence of a command line that must fail with status 2 and write nothing there.

    The first word is the program. With `most`, Python may take that many bytes at its height.
    """
    program, *words = map(str, arguments)
    monkeypatch.setattr("sys.argv", [program, *words])
    before = listing(folder)
    if most:
        tracemalloc.start()
    try:
        assert run_main(MAINS[program], program) == 2
        assert not most or tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"{program}: error: ") and output.err.endswith("\n")
    assert output.err.count("\n") == 1 and output.err[:-1].isprintable()
    assert "Traceback" not in output.err
    assert listing(folder) == before
    return output.err


def sparse_file(path, size):
    """A file that claims so many bytes and takes none."""
    path.unlink(missing_ok=True)
    path.touch()
    os.truncate(path, size)
