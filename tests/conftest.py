"""Settings of all tests: shapes are checked, and no random key is used twice."""

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook("gajax", "beartype.beartype")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture(scope="session")
def small_config():
    """A config of mnist_ga that trains in seconds."""
    from experiments.mnist_ga import Config, check

    return check(
        Config(
            layers=(784, 64, 16),
            population_size=4,
            generations=(2,),
            whole_generations=5,
            batch_size=250,
            svm_c=5.0,
            quiet=True,
        )
    )


@pytest.fixture(scope="session")
def small_run(small_config, tmp_path_factory):
    """The directory of a finished run of the small config."""
    from experiments import mnist_ga
    from experiments.datasets import load

    directory = tmp_path_factory.mktemp("run")
    mnist_ga.run(small_config, load("mnist5k"), directory)
    return directory
