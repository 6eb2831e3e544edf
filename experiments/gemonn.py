"""Evolve a front of sparse to accurate networks by GEMONN (Yang et al., IEEE TNNLS 33(9))."""

from functools import partial
from typing import TYPE_CHECKING

from experiments.classify import command
from experiments.front import compare, export, view
from experiments.front.checks import check, load_data
from experiments.front.config import PRESETS, Config
from experiments.running import program

if TYPE_CHECKING:
    from experiments.running.runs import Training

__all__ = ["PRESETS", "Config", "check", "main", "train"]


def _training() -> "Training":
    from experiments.front.training import TRAINING  # late: it imports JAX, which takes seconds

    return TRAINING


COMMANDS = {
    "export": export.main,
    "compare": compare.main,
    "classify": command.main,
    "view": view.main,
}
PROGRAM = program.Program("gemonn", __doc__, PRESETS, check, load_data, _training, COMMANDS)
main = partial(program.main, PROGRAM)
train = partial(program.train, PROGRAM)

if __name__ == "__main__":
    program.start(PROGRAM)
