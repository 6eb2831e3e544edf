"""Rows of metrics: as many as are read again, whatever the number of generations."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.front.recorder import FrontRecorder
from experiments.running import files, meter
from experiments.running.cli import MAX_COUNT


def generations(rows):
    return [row["generation"] for row in rows]


def add(told, numbers):
    for number in numbers:
        told.add({"generation": number})


def test_later_generations_have_a_row_less_often(monkeypatch):
    monkeypatch.setattr(meter, "_EVERY", 4)
    seen = []
    told = meter.Meter(seen.append)
    add(told, range(1, 20))
    kept = [1, 2, 3, 4, 6, 8, 12, 16]
    assert generations(seen) == generations(told.rows) == kept
    again = meter.Meter(print)
    again.restore(json.loads(json.dumps(told.saved())))
    for one in (told, again):
        one.finish()
        one.finish()
        assert generations(one.rows) == [*kept, 19]
    unlike = meter.Meter(print)
    unlike.restore(told.saved() | {"left_out": None})
    add(unlike, range(20, 27))
    unlike.finish()
    assert generations(unlike.rows) == [*kept, 19, 24, 26]


def test_no_training_writes_more_rows_than_are_read():
    rows, first = 0, 1
    while first <= MAX_COUNT:
        stride = meter._stride(first)
        last = max(meter._EVERY, 2 * (first - 1))
        assert meter._stride(last) == stride
        rows, first = rows + (last - first + 1) // stride, last + 1
    assert rows < 100_000
    widest = 25 * len(",-1.2345678901234567e-123")
    assert rows < files._ROWS and 25 * rows < files._CELLS and rows * widest < files._CSV_BYTES


@pytest.mark.parametrize("size, expected", [(10_000, 10_000), (10_001, 5_001), (70_000, 10_000)])
def test_of_a_large_population_some_individuals_are_kept(size, expected):
    recorder = FrontRecorder.__new__(FrontRecorder)
    recorder.populations, recorder.generation = [], 3
    values = np.linspace(0.123456, 1, size)
    recorder._keep(SimpleNamespace(density=values, info=SimpleNamespace(loss=values)))
    (kept,) = recorder.populations
    assert len(kept["density"]) == len(kept["loss"]) == expected
    assert len(json.dumps(kept)) < files.JSON_BYTES
