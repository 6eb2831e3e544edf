"""Runs with --plot that are cut while a figure is drawn or written, and go on."""

import os
import signal

import pytest
from matplotlib.figure import Figure
from small_runs import EVOLUTION, content, make_small

from experiments import gemonn
from experiments.front import report
from experiments.running import run_directory
from experiments.running.cli import Interrupted

WORDS = [*EVOLUTION, "--generations", "2", "--plot", "--checkpoint-every", "1"]
PICTURE = b"picture"
HEAVY = pytest.mark.heavy


class Cut:
    """Counts the figures, and ends the run at one of them, before or while it is written."""

    def __init__(self, patch):
        self.drawn, self.at, self.is_written = 0, 0, False
        patch.setattr(report, "_SECONDS_BETWEEN_PREVIEWS", 0)
        patch.setattr(Figure, "savefig", self._draw)
        replace = os.replace

        def cut_replace(source, target):
            if str(target).endswith(".png") and self._is_now(True):
                raise KeyboardInterrupt
            replace(source, target)

        patch.setattr(run_directory.os, "replace", cut_replace)

    def _is_now(self, is_written):
        return self.drawn == self.at and self.is_written == is_written

    def _draw(self, file, **_):
        file.write(PICTURE)
        self.drawn += 1
        if self._is_now(False):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def cut():
    """Small runs, and what cuts them."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        yield Cut(patch)


@pytest.fixture(scope="module")
def whole(cut, tmp_path_factory):
    """What an uninterrupted run leaves, and how many figures it draws."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    gemonn.main([*WORDS, "--out", str(directory)])
    assert all(path.read_bytes() == PICTURE for path in directory.glob("figures/*.png"))
    return content(directory), cut.drawn


@pytest.mark.parametrize(
    "share, is_written",
    [
        (0.0, False),
        pytest.param(0.0, True, marks=HEAVY),
        pytest.param(0.2, False, marks=HEAVY),
        pytest.param(0.4, True, marks=HEAVY),
        pytest.param(0.6, True, marks=HEAVY),
        (0.8, False),
        pytest.param(1.0, True, marks=HEAVY),
    ],
)
def test_a_run_cut_at_a_figure_comes_to_the_same_end(share, is_written, cut, whole, tmp_path):
    expected, count = whole
    assert count > 7, "previews, and the figures of the results"
    cut.drawn, cut.at, cut.is_written = 0, 1 + round(share * (count - 1)), is_written
    directory = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"interrupted; resume with: .* {directory}$") as caught:
        gemonn.main([*WORDS, "--out", str(directory)])
    assert caught.value.status == 128 + signal.SIGINT
    cut.at = -1
    gemonn.main(["--resume", str(directory), "--quiet"])
    assert content(directory) == expected
    assert all(path.read_bytes() == PICTURE for path in directory.glob("figures/*.png"))
