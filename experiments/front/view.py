"""Make a page of a finished run to click on: the front, its networks and its evolution."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.front.checks import check, load_data
from experiments.front.config import PRESETS, Config
from experiments.front.rows import SUMMARY
from experiments.running import files, run_directory, viewing
from experiments.running.cli import InputError, printable
from experiments.running.parsing import load_config

if TYPE_CHECKING:
    import gajax.viewing

_IMAGES = 10


def main(arguments: list[str]) -> None:
    """Run the command `view`."""
    status = "measuring the networks of the front"
    viewing.main(arguments, "gemonn", __doc__, SUMMARY, page, "front.html", status)


def page(run: Path) -> "gajax.viewing.Page":
    """The page of a finished run; InputError if a file is damaged or its data set is missing."""
    import jax

    import gajax.viewing
    from experiments.front import measures, networks, report
    from experiments.running import model_files

    config = check(load_config(Config, run / "config.json", PRESETS["gajax"]))
    dataset = load_data(config)
    front = report.load_front(run / "front.csv")
    summary = run_directory.read_summary(run, SUMMARY)
    shape, classes = dataset.train_images.shape[1:], int(dataset.train_labels.max()) + 1
    network = networks.make(config.model, config.hidden or (), shape, classes)
    members = [
        model_files.load_network(run / "population.safetensors", index)
        for index in range(len(front.density))
    ]
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    try:
        params = [model_files.tree(member, shapes) for member in members]
    except ValueError as error:
        raise InputError(f"--run has a damaged population.safetensors: {error}") from None
    loss = report.loss_name(config)
    columns = {
        "density": front.density,
        f"{loss} on training images": front.train_loss,
        f"{loss} on test images": front.test_loss,
        **({} if front.test_accuracy is None else {"test accuracy": front.test_accuracy}),
        "bytes, dense": np.array([model_files.size(model_files.dense(one)) for one in members]),
        "bytes, sparse": np.array(
            [model_files.size(model_files.coordinates(one)) for one in members]
        ),
    }
    drawn = []
    for member in members:
        name, kernel = model_files.largest_matrix(member)
        is_first = len(kernel) == np.prod(shape)
        drawn.append(gajax.viewing.weights(name, kernel, shape if is_first else None))
    images, labels = dataset.test_images.reshape(len(dataset.test_images), -1), dataset.test_labels
    parts: dict[str, Any] = {}
    if network.reconstruct:
        _, firsts = np.unique(labels, return_index=True)
        firsts = firsts[:_IMAGES]
        reconstruct = jax.jit(network.reconstruct)
        copies = [np.asarray(reconstruct(one, images[firsts])) for one in params]
        parts["pictures"] = {
            "shape": shape,
            "labels": [str(label) for label in labels[firsts]],
            "originals": images[firsts],
            "copies": [np.uint8(np.rint(255 * np.clip(copy, 0, 1))) for copy in copies],
        }
    else:
        shares = [measures.class_accuracies(network, one, images, labels) for one in params]
        parts |= {"classes": shares, "class_names": [str(name) for name in np.unique(labels)]}
    path = shlex.quote(str(run))
    name = printable(summary["method"])
    program = "python -m experiments.gemonn export"
    return gajax.viewing.front_page(
        f"Front of {name} on {dataset.name}",
        columns,
        name=name,
        note=f"{config.model}, seed {config.seed}: {len(members)} networks, none better than "
        "another in both density and loss",
        selected=measures.knee(front.density, front.train_loss),
        zero_loss=summary.get("zero_loss"),
        rivals=_rivals(run),
        populations=_populations(run / "populations.json"),
        populations_note=f"Crosses: the population of a generation, with the {loss} on its batch.",
        commands=[
            f"{program} --run {path} --density {density} --to network.safetensors"
            for density in front.density
        ],
        weights=drawn,
        **parts,
    )


def _rivals(run: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fronts of the other runs of a comparison with the same seed, by directory name."""
    if not (run.absolute().parent / "compare.csv").is_file():
        return {}
    from experiments.front import records

    own, found = run.resolve(), {}
    seed = run_directory.read_summary(run)["seed"]
    for record in records.read_all(run.absolute().parent):
        if record["seed"] == seed and record["directory"].resolve() != own:
            found[record["method"]] = record["points"]
    return found


def _populations(path: Path) -> list[dict[str, Any]]:
    """What `report.save` has written; InputError if it is damaged, nothing in older runs."""
    if not path.is_file():
        return []
    try:
        kept = files.read_json(path)["populations"]
        for one in kept:
            if type(one["generation"]) is not int or len(one["density"]) != len(one["loss"]):
                raise ValueError
            np.array([one["density"], one["loss"]], float)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"--run has a damaged {path.name}") from None
    return kept
