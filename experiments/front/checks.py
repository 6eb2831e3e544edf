"""Validation of the settings of the evolution of a front."""

import math
from dataclasses import replace
from typing import TypeVar

from experiments.datasets.catalog import Dataset, load
from experiments.front.config import LINEAGE_END, ON_LADDER, Config
from experiments.running.cli import MAX_COUNT, flag, require, require_at_least, require_widths
from experiments.running.config import LOWEST, check_images
from experiments.running.config import check as check_run

ConfigType = TypeVar("ConfigType", bound=Config)

HIDDEN = {
    "autoencoder": (500,),
    "deep-autoencoder": (500, 250, 100, 50),
    "lenet": (),
    "lstm": (128,),
    "mlp": (300, 100),
}
"""Default hidden layers."""

LENET_SIDE = 12
"""Fewest pixels of a side of an image, of which two convolutions and poolings leave one."""

MIN_BATCHES = {"descent": 1, "pruning": 52, "regrowth": 48}
"""Fewest batches of baselines without a population, so that each stage gets some."""

_LOWEST = {
    **LOWEST,
    "generations": 1,
    "refine_every": 1,
    "refine_steps": 0,
    "final_refine_steps": 0,
}


def _complete(config: ConfigType) -> ConfigType:
    """The config with the defaults that depend on its method and model."""
    is_on_ladder = config.method in ON_LADDER
    rate, ratio = 0.06, None
    if is_on_ladder:
        rate, ratio = 0.04 if "autoencoder" in config.model else 0.01, 5
    elif config.method in ("pruning", "regrowth"):
        rate, ratio = 1e-3, 1
    rate = rate if config.learning_rate is None else config.learning_rate
    lineage = config.lineage
    if lineage is None:
        lineage = 0.3 if config.method == "ladder-lineage" else 0.0
    defaults = {
        "lineage": lineage,
        "hidden": HIDDEN[config.model],
        "population_size": 16 if is_on_ladder else 50,
        "lowest_density": 0.0015 if is_on_ladder else 0.002,
        "highest_density": 0.8 * LINEAGE_END if lineage else 0.1,
        "learning_rate": rate,
        "sparse_learning_rate": ratio and ratio * rate,
    }
    missing = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    return replace(config, **missing)


def check(config: ConfigType) -> ConfigType:
    """Complete the config with the defaults of its method and model; InputError if invalid."""
    config = _complete(config)
    hidden, lowest = config.hidden, config.lowest_density
    assert hidden is not None and lowest is not None
    require_widths("--hidden", hidden)
    number = {"autoencoder": 1, "lstm": 1, "lenet": 0}.get(config.model)
    fits = len(hidden) > 0 if number is None else len(hidden) == number
    expected = "positive widths"
    if number is not None:
        expected = ("one positive width" if number else "no width") + f" for {config.model}"
    shown = " ".join(map(str, hidden))
    require(fits and all(width > 0 for width in hidden), "--hidden", shown, expected)
    require_at_least(config, _LOWEST)
    for name in ("learning_rate", "sparse_learning_rate", "budget"):
        value = getattr(config, name)
        require(value is None or 0 < value < math.inf, flag(name), value, "above 0")
    steps, most = config.final_refine_steps, MAX_COUNT // config.batch_size
    require(steps <= most, "--final-refine-steps", steps, f"at most {most:,}")
    if fewest := MIN_BATCHES.get(config.method):
        batches = config.generations * config.size
        batches = batches if config.budget is None else config.budget // config.batch_size
        expected = f"from {fewest} to {MAX_COUNT:,} batches for {config.method}"
        require(fewest <= batches <= MAX_COUNT, "--budget", f"{batches:g}", expected)
    require(0 < lowest <= 1, "--lowest-density", lowest, "above 0 and at most 1")
    if config.method in ON_LADDER:
        highest, most = config.highest_density, LINEAGE_END if config.lineage else 1
        assert highest is not None
        expected = f"from {lowest:g}, the lowest density, to {most:g}"
        require(lowest <= highest <= most, "--highest-density", highest, expected)
        require(
            config.refine_steps > 0,
            "--refine-steps",
            config.refine_steps,
            f"1 or more for {config.method}",
        )
    lineage, is_bounded = config.lineage, config.budget is not None
    is_needed = config.method == "ladder-lineage" and not is_bounded
    require(not is_needed, "--budget", None, "a number for ladder-lineage, which has a share of it")
    assert lineage is not None
    require(0 <= lineage < 1, "--lineage", lineage, "from 0 to below 1")
    fits = not lineage or config.method.startswith("ladder") and is_bounded
    expected = "0" if is_bounded else "0 without a budget"
    require(fits, "--lineage", lineage, f"{expected} for {config.method}")
    is_evolving = not config.rate_genes or config.method in ON_LADDER
    require(is_evolving, "--rate-genes", True, f"False for {config.method}")
    check_run(config)
    return config


def check_dataset(config: Config, dataset: Dataset) -> None:
    """Raise InputError if the config does not fit the data."""
    images = check_images(config, len(dataset.train_images))
    height, width = dataset.train_images.shape[1:3]
    is_large = config.model != "lenet" or min(height, width) >= LENET_SIDE
    expected = f"another model for images of {height} x {width} pixels, below {LENET_SIDE}"
    require(is_large, "--model", "lenet", expected)
    parts = 1  # of the images, of which one is a batch: that which judges, and others to learn from
    if config.method in ON_LADDER:
        parts = 3
    elif config.method == "gemonn" and config.refine_steps or "gradient" in config.method:
        parts = 2
    most, size = images // parts, config.batch_size
    expected = f"at most {most} for {config.method}, which judges by batches of their own"
    require(size <= most, "--batch-size", size, expected)


def load_data(config: Config, dataset: Dataset | None = None) -> Dataset:
    """Load the data set unless given; InputError if the config does not fit it."""
    dataset = dataset or load(config.dataset, config.data_dir)
    check_dataset(config, dataset)
    return dataset
