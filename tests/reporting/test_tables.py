"""Printed tables fit the terminal without a broken number or word, and written ones keep all."""

import csv
import io
import re

import pytest
from rich.console import Console

from experiments.autoencoder import rows as autoencoder_rows
from experiments.front import records
from experiments.front import rows as front_rows
from experiments.reporting.tables import View, write_tables

NAMES = {
    "gemonn": [*front_rows.NAMES.values(), "regrowth, large batches, tuned", "Adam 0.001"],
    "mnist_ga": ["ga-tanh", "layerwise-relu-steps", "pretrained-tanh-steps", "pca"],
}
MEASURES = {"gemonn": records.MEASURES, "mnist_ga": autoencoder_rows.MEASURES}


def printed(view, width):
    console = Console(width=width, file=io.StringIO(), markup=False)
    console.print(view)
    return console.file.getvalue()


def cells_of(text):
    return {cell.strip() for cell in re.split(r"[│┃\n]", text)}


def comparison(program, seeds, directory):
    """The views of large numbers that differ between seeds."""
    measures = MEASURES[program]
    groups = {
        name: [
            {
                "seed": seed,
                **{one: 0.123456 + seed / 7 + index for one in measures},
                "cost": 1.234567e6,
                "sequential_steps": 11_718,
                "seconds": 12_345,
            }
            for seed in range(seeds)
        ]
        for index, name in enumerate(NAMES[program])
    }
    return write_tables({"At equal cost": groups}, measures, directory)


@pytest.mark.parametrize("width", [60, 80, 100, 110, 120, 200])
@pytest.mark.parametrize("seeds", [1, 3, 7])
@pytest.mark.parametrize("program", MEASURES)
def test_no_cell_and_no_word_is_broken(program, seeds, width, tmp_path):
    views = comparison(program, seeds, tmp_path)
    assert len(views) == (2 if seeds > 1 else 1)
    for view in views:
        text = printed(view, width)
        assert all(len(line) <= width for line in text.splitlines())
        found, words = cells_of(text), {*re.split(r"[│┃\s]+", text)}
        for row in view.rows:
            assert {*row} <= found
        assert {word for title in view.titles for word in title.split()} <= words
    with (tmp_path / "compare.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["method", "seed", *MEASURES[program]]
    header, *_ = (tmp_path / "compare.md").read_text().split("\n\n")[1].splitlines()
    assert header.count("|") == len(MEASURES[program]) + 3


def test_every_table_repeats_the_first_column_and_only_the_first_is_titled():
    view = View("A title", ["name", "long column", "short"], [["one", "1234567890", "5"]] * 2)
    wide, narrow = printed(view, 60), printed(view, 24)
    assert wide.count("one") == 2 and "long column" in wide
    assert narrow.count("one") == 4 and narrow.count("A title") == 1
    assert re.search(r"│ one +│ 1234567890 │\n", narrow) and re.search(r"│ one +│ 5 +│\n", narrow)


def test_a_single_row_is_a_line_for_each_column():
    text = printed(View("", ["method", "log hypervolume"], [["GEMONN", "0.335"]]), 80)
    assert re.search(r"│ method +│ GEMONN │\n│ log hypervolume +│ 0.335 +│\n", text)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_file_gets_80_columns_and_a_wide_terminal_its_own(is_terminal):
    titles = ["method", *[f"measure {index}" for index in range(12)]]
    console = Console(width=200, file=io.StringIO(), force_terminal=is_terminal)
    console.print(View("", titles, [["a"] * 13] * 2))
    lines = console.file.getvalue().splitlines()
    assert (sum("method" in line for line in lines) == 1) == is_terminal
    assert (max(map(len, lines)) <= 80) != is_terminal
