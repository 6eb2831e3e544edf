"""Evolve a tied autoencoder layer by layer and judge its features by an SVM (arXiv 1711.07655)."""

from typing import TYPE_CHECKING, Any

from experiments.autoencoder import compare, predict
from experiments.autoencoder.config import PRESETS, Config, check, data_for
from experiments.running import cache, program
from experiments.running.cli import run_main

if TYPE_CHECKING:
    from experiments.autoencoder.results import Results
    from experiments.running.runs import Training


def train(config: Config, **options: Any) -> "Results":
    """Train as `experiments.autoencoder.training.train` does, whose options these are."""
    from experiments.autoencoder import training  # late: it imports JAX, which takes seconds

    return training.train(config, **options)


def _training() -> "Training":
    from experiments.autoencoder import training  # late, as in `train`

    return training.TRAINING


def main(arguments: list[str]) -> None:
    """Run the command line: a training, or one of the commands `predict` and `compare`."""
    commands = {"predict": predict.main, "compare": compare.main}
    description = __doc__ or ""
    program.main(
        program.Program("mnist_ga", description, PRESETS, check, data_for, _training, commands),
        arguments,
    )


if __name__ == "__main__":
    cache.keep_compilations()
    raise SystemExit(run_main(main, "mnist_ga"))
