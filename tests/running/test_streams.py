"""Programs finish although their streams are closed, full or not read."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from experiments.running import process

def main(arguments):
    for number in range(3):
        print("progress", file=sys.stderr, flush=True)
    with open(arguments[0], "w") as file:
        file.write(f"{file.fileno()}")
    print("done")

sys.argv = ["program", %r]
process.run(main, "program")
"""


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, "done\n"),
        ("<&- >&- 2>&-", 0, ""),
        ("2>/dev/full", 0, "done\n"),
        ("2> >(exec true)", 0, "done\n"),
        (">/dev/full", 1, ""),
    ],
)
def test_a_program_ends_as_it_should(redirection, status, said, tmp_path):
    written = tmp_path / "written"
    words = ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, PROGRAM % str(written)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, said)
    assert int(written.read_text()) > 2, "it has the number of a stream that was closed"
    assert "Traceback" not in done.stderr
