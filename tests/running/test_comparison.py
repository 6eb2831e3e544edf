"""The order of the runs of a comparison, and the choice of settings on a grid."""

import json
from dataclasses import dataclass

import pytest

from experiments.running import comparison
from experiments.running.cli import InputError


@dataclass(frozen=True)
class Config:
    seed: int
    rate: float = 1.0
    validation: int = 0


def row(name, grid=()):
    return comparison.Row(
        name,
        lambda seed, _: Config(seed),
        {f"{rate:g}": {"rate": rate} for rate in grid},
        {"validation": 7},
        lambda summary: summary["score"],
    )


def test_a_grid_is_run_once_and_where_its_row_first_comes(tmp_path):
    todo = [(each, seed) for seed in (4, 2) for each in (row("a"), row("b", (0.5, 2.0)))]
    runs = comparison.runs_of(todo)
    names = ["a-4", "tuning/b-0.5", "tuning/b-2", "b-4", "a-2", "b-2"]
    assert [name for name, _ in runs] == names
    configs = {name: make(tmp_path) for name, make in runs}
    assert configs["tuning/b-2"] == Config(4, 2.0, 7)
    assert configs["a-2"] == Config(2)
    for rate, score in (("0.5", 0.1), ("2", 0.3)):
        (tmp_path / "tuning" / f"b-{rate}").mkdir(parents=True)
        values = {"method": "b", "seed": 4, "score": score, "cost": 10.0}
        (tmp_path / "tuning" / f"b-{rate}" / "summary.json").write_text(json.dumps(values))
    assert [dict(runs)[name](tmp_path) for name in ("b-4", "b-2")] == [
        Config(4, 2.0),
        Config(2, 2.0),
    ]
    assert comparison.tuning_cost(tmp_path, "b") == 20
    grouped = comparison.configs_by_row(todo, tmp_path)
    assert [*grouped] == ["a", "b"] and len(grouped["b"]) == 4


WHOLE = '{"method": "b", "seed": 0, "cost": 1'


@pytest.mark.parametrize(
    "content", ["{}", WHOLE + "}", WHOLE + ', "score": "high"}', '{"score": 1}', "[]", ""]
)
def test_a_damaged_run_of_a_grid_is_refused(content, tmp_path):
    (tmp_path / "tuning" / "b-3").mkdir(parents=True)
    (tmp_path / "tuning" / "b-3" / "summary.json").write_text(content)
    (_, _), (_, make) = comparison.runs_of([(row("b", (3.0,)), 0)])
    with pytest.raises(InputError, match="--out must hold only intact runs"):
        make(tmp_path)
