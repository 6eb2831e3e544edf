"""Data sets on the command line.

`python -m experiments.datasets show NAME` draws some images of a set, and `embed` recreates the
embedded set from the official MNIST files.
"""

import io
from pathlib import Path

import numpy as np

from experiments.datasets import idx
from experiments.datasets.catalog import DATASETS, load
from experiments.running.cli import (
    CommandParser,
    InputError,
    nonempty_path,
    printable,
    split_command,
)
from experiments.running.run_directory import write_bytes

_MNIST5K_PER_CLASS = {"train": 500, "test": 100}


def _embed(data_dir: Path, to: Path) -> None:
    """Write mnist5k: evenly spaced images of each class of the official split."""
    arrays = {}
    for split, (images, labels) in idx.read_splits(data_dir).items():
        count = _MNIST5K_PER_CLASS[split]
        # Evenly spaced, because the first half of the official test images is easier.
        of_class = [np.flatnonzero(labels == label) for label in range(10)]
        chosen = np.concatenate(
            [indices[np.arange(count) * len(indices) // count] for indices in of_class]
        )
        # NumPy guarantees the stream of the legacy generator.
        chosen = np.random.RandomState(0).permutation(chosen)
        arrays |= {f"{split}_images": images[chosen], f"{split}_labels": labels[chosen]}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(to, content.getvalue())


def main(arguments: list[str]) -> None:
    """Run the command `show` or `embed`."""
    command, rest = split_command(arguments, ("show", "embed"))
    parser = CommandParser(f"python -m experiments.datasets {command or 'show|embed'}", __doc__)
    if command == "show":
        parser.add_argument("name", choices=DATASETS, metavar="NAME")
        parser.add_argument(
            "--data-dir", type=nonempty_path, metavar="DIR", help="the official files"
        )
        parser.add_argument("--out", type=nonempty_path, metavar="FILE", help="default: NAME.png")
        given = parser.parse_args(rest)
        from experiments.datasets import contact_sheet  # late: it imports matplotlib

        out = given.out or Path(f"{given.name}.png")
        contact_sheet.draw(load(given.name, given.data_dir), out)
        print(f"written to {printable(out)}")
    elif command == "embed":
        parser.add_argument(
            "--data-dir", type=nonempty_path, required=True, help="the official MNIST files"
        )
        parser.add_argument("--to", type=nonempty_path, required=True, help="the .npz to write")
        given = parser.parse_args(rest)
        try:
            _embed(given.data_dir, given.to)
        except ValueError as error:
            raise InputError(f"--data-dir {given.data_dir}: {error}") from None
    else:
        parser.parse_args(rest)
        raise InputError("a command must be given: show or embed")
