"""The command `python -m experiments.benchmark`."""

from experiments.benchmark.command import main
from experiments.running import process

if __name__ == "__main__":
    process.run(main, "benchmark")
