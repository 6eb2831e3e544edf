"""The command `python -m experiments.datasets`."""

from experiments.datasets.catalog import main
from experiments.running.cli import run_main

if __name__ == "__main__":
    raise SystemExit(run_main(main, "datasets"))
