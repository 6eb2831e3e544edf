"""What a run has compiled, the next one finds; where that cannot be, nobody notices."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest
from jax._src import compiler

from experiments import mnist_ga
from experiments.autoencoder import layerwise
from experiments.autoencoder import methods as autoencoder_methods
from experiments.datasets import tfds_builders
from experiments.front import algorithms as front_algorithms
from experiments.front import checks, networks
from experiments.front.config import Config
from experiments.running import cache
from experiments.running.cli import InputError

ROOT = Path(__file__).parents[2]
KEPT = "JAX_COMPILATION_CACHE_DIR"
LINE = (
    "-m experiments.gemonn --hidden 4 --population-size 4 --batch-size 10 --generations 1 --quiet"
)


def evolve(home, out):
    """What a short evolution writes on stderr, each program that it has to compile included."""
    others = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    own = {"GAJAX_CACHE_DIR": str(home), "JAX_EXPLAIN_CACHE_MISSES": "1"}
    words = [sys.executable, *f"{LINE} --budget None --refine-steps 0 --out {out}".split()]
    result = subprocess.run(words, cwd=ROOT, env=others | own, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.mark.heavy
def test_the_second_run_compiles_nothing_and_gives_the_same_bits(tmp_path):
    pytest.importorskip("jaxlib", minversion="0.10.2")
    assert "PERSISTENT COMPILATION CACHE MISS" in evolve(tmp_path / "home", tmp_path / "first")
    kept = sorted((tmp_path / "home" / "compilations").iterdir())
    assert kept
    log = evolve(tmp_path / "home", tmp_path / "second")
    assert "PERSISTENT COMPILATION CACHE MISS" not in log and "cpu_aot_loader" not in log
    assert sorted((tmp_path / "home" / "compilations").iterdir()) == kept
    for name in ("front.csv", "population.csv", "population.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment of nothing but a cache folder."""
    monkeypatch.setattr(os, "environ", {"GAJAX_CACHE_DIR": str(tmp_path)})
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which is replaced
    return os.environ


def test_programs_are_kept_for_this_user_alone(environment, tmp_path):
    cache.enable_compilation_cache()
    assert environment[KEPT] == str(tmp_path / "compilations")
    assert (tmp_path / "compilations").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_no_mistake(environment, tmp_path):
    (tmp_path / "compilations").write_text("no folder")
    cache.enable_compilation_cache()
    assert KEPT not in environment


def test_the_users_own_settings_go_first(environment):
    own = {KEPT: "elsewhere", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "5"}
    environment |= {**own, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    cache.enable_compilation_cache()
    assert {name: environment[name] for name in own} == own
    assert environment["JAX_ENABLE_COMPILATION_CACHE"] == "false"


def test_a_user_without_a_home_has_no_cache(environment, monkeypatch, tmp_path):
    def no_home(name):
        raise RuntimeError("could not determine the home directory")

    del environment["GAJAX_CACHE_DIR"]
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", no_home)
    monkeypatch.chdir(tmp_path)
    cache.enable_compilation_cache()
    assert KEPT not in environment and cache.folder("any") is None and not any(tmp_path.iterdir())
    monkeypatch.setattr(tfds_builders, "_is_readable", lambda folder: False)
    with pytest.raises(InputError, match="--dataset mnist .* without a home: set GAJAX_CACHE_DIR"):
        tfds_builders.read("mnist")


def test_the_programs_used_last_are_kept_up_to_a_size(environment, monkeypatch, tmp_path):
    folder = tmp_path / "compilations"
    folder.mkdir()
    for age, size in enumerate((30, 0, 50, 40, 10)):
        (folder / f"jit_{age}-cache").write_bytes(bytes(size))
        os.utime(folder / f"jit_{age}-cache", (1_000 - age, 0))
    monkeypatch.setattr(cache, "_MOST_BYTES", 100)
    cache.enable_compilation_cache()
    assert sorted(path.name for path in folder.iterdir()) == ["jit_0-cache", "jit_2-cache"]


def test_a_damaged_cache_starts_anew_with_one_line(environment, tmp_path, capsys):
    cache.enable_compilation_cache()
    (tmp_path / "compilations" / "jit_x-cache").write_bytes(b"damaged")
    for number in range(104):
        for verb in ("reading", "writing"):
            text = f"Error {verb} persistent compilation cache entry for 'jit_{number}': zlib: no"
            warnings.showwarning(text, UserWarning, "compiler.py", 1)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("was damaged and starts anew") and second.endswith("written to (no)")
    assert not any((tmp_path / "compilations").iterdir())


def test_jax_warns_of_its_cache_as_expected():
    """The words that the cache is mended by are those of JAX."""
    source = Path(compiler.__file__).read_text()
    for verb in ("reading", "writing"):
        assert f'f"Error {verb} persistent compilation cache entry for "' in source


@pytest.mark.parametrize(
    "installed, keeps",
    [
        ("0.9.2", False),
        ("0.10.1", False),
        ("0.10.2", True),
        ("0.10.2rc1", True),
        ("0.11.0.dev1", True),
    ],
)
def test_versions_that_warn_keep_nothing(installed, keeps, environment, monkeypatch):
    monkeypatch.setattr(cache, "version", lambda package: installed)
    cache.enable_compilation_cache()
    assert (KEPT in environment) == keeps


def test_programs_are_forgotten():
    double = jax.jit(lambda number: 2 * number)
    double(1.0)
    assert double._cache_size() == 1
    cache.clear_programs()
    assert double._cache_size() == 0


@pytest.mark.parametrize("method", front_algorithms.ALGORITHMS)
def test_fronts_with_equal_settings_share_their_programs(method):
    """Which belong to the algorithm."""

    def make(**changes):
        network = networks.make("autoencoder", (8,), (28, 28, 1), 10)
        config = Config(method=method, population_size=4, **changes)
        return front_algorithms.ALGORITHMS[method](checks.check(config), network)

    assert make(seed=0) is make(seed=1)
    assert make() is not make(batch_size=50)


@pytest.mark.parametrize("method", autoencoder_methods.ALGORITHMS)
def test_autoencoders_with_equal_settings_share_their_programs(method):
    def make(**changes):
        config = mnist_ga.check(mnist_ga.Config(method=method, layers=(784, 8), **changes))
        phase = autoencoder_methods.schedule(config, 5_000)[0]
        model = autoencoder_methods.autoencoder(config)
        loss_fn = layerwise.reconstruction_loss(model, phase, config.target)
        return autoencoder_methods.ALGORITHMS[method](config)(loss_fn, phase)

    assert make(seed=0) is make(seed=1)
    assert make() is not make(learning_rate=0.5)
