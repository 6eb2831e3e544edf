"""Export one network of a finished front."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from experiments.front.rows import SUMMARY
from experiments.running import run_directory
from experiments.running.cli import CommandParser, InputError, printable, require, show

if TYPE_CHECKING:
    from experiments.front.measures import Front


def main(arguments: list[str]) -> None:
    """Run the command `export`."""
    parser = CommandParser("python -m experiments.gemonn export", description=__doc__)
    parser.add_argument(
        "--run", required=True, type=Path, metavar="DIR", help="directory of a finished run"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--density", type=float, help="the network of lowest loss with at most this density"
    )
    which.add_argument("--knee", action="store_true", help="the network at the knee of the front")
    which.add_argument("--best", action="store_true", help="the network of lowest loss")
    parser.add_argument("--to", required=True, type=Path, metavar="FILE.safetensors")
    parser.add_argument(
        "--format",
        choices=("dense", "sparse"),
        default="dense",
        help="all genes, or indices and values of the nonzero ones (default: dense)",
    )
    given = parser.parse_args(arguments)
    require(given.to.suffix == ".safetensors", "--to", given.to, "a file named *.safetensors")
    run_directory.require_finished(given.run, "--run", SUMMARY)
    from experiments.front import report  # late, as in `gemonn.train`
    from experiments.running import model_files

    front = report.load_front(given.run / "front.csv")
    index = choose(front, density=given.density, knee=given.knee)
    network = model_files.load_network(given.run / "population.safetensors", index)
    write = model_files.dense if given.format == "dense" else model_files.coordinates
    save(write(network), given.to)
    view = Table(title=printable(given.to), show_header=False)
    view.add_row("density", f"{front.density[index]:.4g}")
    view.add_row(
        "loss, train / test", f"{front.train_loss[index]:.5f} / {front.test_loss[index]:.5f}"
    )
    if front.test_accuracy is not None:
        view.add_row("accuracy, test", f"{front.test_accuracy[index]:.2%}")
    view.add_row("size on disk", f"{given.to.stat().st_size:,} bytes, {given.format}")
    show(view)


def choose(front: "Front", *, density: float | None = None, knee: bool = False) -> int:
    """Select a row of the front: by density, the knee, or by default the lowest loss."""
    if density is not None:
        lowest = float(front.density.min())
        expected = f"at least {lowest:.4g}, the sparsest network of the front"
        require(density >= lowest, "--density", density, expected)
        allowed = np.flatnonzero(front.density <= density)
        return int(allowed[np.argmin(front.train_loss[allowed])])
    if knee:
        from experiments.front import measures

        return measures.knee(front.density, front.train_loss)
    return int(np.argmin(front.train_loss))


def save(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write the file atomically; InputError on failure."""
    import gajax

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        gajax.save(arrays, path)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--to must be a writable file, not {path}: {reason}") from None
