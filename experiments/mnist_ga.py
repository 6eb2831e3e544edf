"""Evolve a tied autoencoder layer by layer and evaluate it by an SVM (arXiv 1711.07655)."""

from functools import partial
from typing import TYPE_CHECKING

from experiments.autoencoder import compare, predict, view
from experiments.autoencoder.checks import check, load_data
from experiments.autoencoder.config import PRESETS, Config
from experiments.running import program

if TYPE_CHECKING:
    from experiments.running.runs import Training

__all__ = ["PRESETS", "Config", "check", "main", "train"]


def _training() -> "Training":
    from experiments.autoencoder.training import (
        TRAINING,  # late: it imports JAX, which takes seconds
    )

    return TRAINING


COMMANDS = {"predict": predict.main, "compare": compare.main, "view": view.main}
PROGRAM = program.Program("mnist_ga", __doc__, PRESETS, check, load_data, _training, COMMANDS)
main = partial(program.main, PROGRAM)
train = partial(program.train, PROGRAM)

if __name__ == "__main__":
    program.start(PROGRAM)
