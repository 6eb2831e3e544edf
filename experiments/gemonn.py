"""Evolve a front of networks from sparse to accurate by GEMONN (Yang et al., IEEE TNNLS 33(9))."""

from typing import TYPE_CHECKING, Any

from experiments.classify import command as classify
from experiments.front import compare, export
from experiments.front.config import PRESETS, Config, check, data_for
from experiments.running import cache, program
from experiments.running.cli import run_main

if TYPE_CHECKING:
    from experiments.front.results import Results
    from experiments.running.runs import Training


def train(config: Config, **options: Any) -> "Results":
    """Evolve as `experiments.front.training.train` does, whose options these are."""
    from experiments.front import training  # late: it imports JAX, which takes seconds

    return training.train(config, **options)


def _training() -> "Training":
    from experiments.front import training  # late, as in `train`

    return training.TRAINING


def main(arguments: list[str]) -> None:
    """Run the command line: an evolution, or the command `export`, `compare` or `classify`."""
    commands = {"export": export.main, "compare": compare.main, "classify": classify.main}
    description = __doc__ or ""
    program.main(
        program.Program("gemonn", description, PRESETS, check, data_for, _training, commands),
        arguments,
    )


if __name__ == "__main__":
    cache.keep_compilations()
    raise SystemExit(run_main(main, "gemonn"))
