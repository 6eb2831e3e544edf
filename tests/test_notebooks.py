"""The notebooks as they are stored: whole runs, and nothing of the machine that made them."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def cells_of(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["gemonn", "mnist_ga", "your_own_model"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_those_of_one_run_from_top_to_bottom(path):
    cells = cells_of(path)
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "JAX 0." in json.dumps(cells[0]["outputs"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_the_machine_is_in_them(path):
    assert path.stat().st_size < 1_000_000
    for word in ("/tmp", "/home", "/work", "/root", "site-packages"):
        assert word not in path.read_text()


def test_all_begin_alike():
    assert len({json.dumps(cells_of(path)[0]["source"]) for path in NOTEBOOKS}) == 1


@pytest.mark.parametrize("stem", ["gemonn", "mnist_ga"])
def test_experiments_are_called_and_not_copied(stem):
    (path,) = (path for path in NOTEBOOKS if path.stem == stem)
    source = "".join("".join(cell["source"]) for cell in cells_of(path))
    assert "results = train(config, progress=progress)" in source
    assert "jax.jit" not in source and "gajax.ga(" not in source and "gajax.gemonn(" not in source
