"""The command `view`: a page of a finished run to click on."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.running import files, run_directory
from experiments.running.cli import CommandParser, printable, show
from experiments.running.progress import Progress

if TYPE_CHECKING:
    from gajax.viewing import Page


def main(
    arguments: list[str],
    program: str,
    description: str | None,
    schema: files.Schema,
    make: "Callable[[Path], Page]",
    file: str,
    status: str,
) -> None:
    """Write the page that `make` gives for the run into its directory, as that file.

    Args:
      arguments: behind the word `view`.
      program: such as "gemonn".
      description: for `--help`.
      schema: of `summary.json`.
      make: gives the page of a run.
      file: name of the page.
      status: what is shown meanwhile.
    """
    parser = CommandParser(f"python -m experiments.{program} view", description=description)
    parser.add_argument(
        "--run", required=True, type=Path, metavar="DIR", help="directory of a finished run"
    )
    run = parser.parse_args(arguments).run
    run_directory.require_finished(run, "--run", schema)
    with Progress(quiet=False) as progress, progress.status(status):
        page = make(run)
    path = run / file
    run_directory.write_text(path, page.text)
    show(f"written to {printable(path)}; open it in a browser")
