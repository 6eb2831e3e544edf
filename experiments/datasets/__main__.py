"""The command `python -m experiments.datasets`."""

from experiments.datasets.command import main
from experiments.running import process

if __name__ == "__main__":
    process.run(main, "datasets")
