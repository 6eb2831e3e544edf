"""The command `python -m experiments.datasets`."""

from experiments.datasets.command import main
from experiments.running.cli import run_main

if __name__ == "__main__":
    raise SystemExit(run_main(main, "datasets"))
