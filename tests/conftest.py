"""Settings of all tests: shapes are checked, and that no random key is used twice."""

import builtins
import fcntl
import functools
import gc
import os
import shutil
import signal

import jax
import pytest
from browser import accessibility, browser, opened  # noqa: F401
from jax._src.interpreters import mlir
from jaxtyping import install_import_hook
from seen_pictures import seen  # noqa: F401
from small_disk import small_disk  # noqa: F401

install_import_hook("gajax", "beartype.beartype")
# It imports gajax, which is checked only from here on.
from distributed_runs import one_device, start_processes, whole_content  # noqa: E402, F401

# What runs in the background ignores interruptions, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# One process for each core: threads of their libraries for linear algebra would only wait for each
# other. What is loaded already keeps its number, but not in the processes that pytest-xdist starts.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# Compiling takes most of the time: the older of two code generators, without optimisation, takes
# a third of it. Tests of results that are equal to the bit take the fixture `user_flags` instead.
# To divide the code of a program among threads takes a quarter more.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_legacy_prng_key", "error")
# JAX makes a context of the compiler for each program, which takes a third of the time of compiling
# a single operation. The programs of a module share one; `forget_programs` drops it.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)
jax.config.update("jax_num_cpu_devices", 8)  # virtual ones; a program that asks for none gets one


def pytest_configure(config):
    """What is compiled once serves all processes of these tests, and the next time they run.

    JAX names a program by what it computes, its flags, and the version of the compiler.
    """
    if not hasattr(config, "cache"):  # with -p no:cacheprovider
        return
    settings = {
        "jax_compilation_cache_dir": str(config.cache.mkdir("compilations")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the processes that tests start


KEYS_CHECKED = {"algorithms", "operators", "autoencoder", "front", "classify"}
KEYS_CHECKED |= {"test_population", "test_context", "test_ask_tell", "test_estimator"}
"""Folders and modules that trace, in all, every function that draws."""

LONGEST = {"test_sharding", "test_estimator", "test_extending", "test_benchmark", "test_mnist_ga"}
LONGEST |= {"test_pages", "test_front_compare", "test_reference"}
"""Modules that come first, as one of them at the end would leave other processes idle."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish():
    """What is imported stays: the search for garbage need not go through it each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # tracing makes many objects and little garbage


@pytest.fixture(autouse=True, scope="module")
def check_keys(request):
    """Checking them takes a fifth of the time of tracing, so it is done once for each function."""
    names = {request.path.parent.name, request.path.stem}
    with jax.debug_key_reuse(not names.isdisjoint(KEYS_CHECKED)):
        yield


def pytest_terminal_summary(terminalreporter):
    """Print the counts of the heavy tests, which `record_property("count", ...)` gives.

    A count is what is counted, how many came out as they should, of how many, the longest time of
    one, in seconds, or 0, and where it is measured the memory of one, in bytes.
    """
    totals = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, count in getattr(report, "user_properties", ()):
                if name == "count" and report.when == "call":
                    label, good, tried, slowest, *size = count
                    before = totals.get(label, (0, 0, 0.0, 0))
                    most = max(before[2], slowest), max(before[3], *size, 0)
                    totals[label] = before[0] + good, before[1] + tried, *most
    for label, (good, tried, slowest, largest) in totals.items():
        longest = f", slowest {slowest:.2f} s" if slowest else ""
        memory = f", largest {largest / 10**6:,.0f} MB" if largest else ""
        terminalreporter.write_line(f"{label} {good:,} of {tried:,}{longest}{memory}")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs take memory, and maps of it, of which a process may have only so many."""
    yield
    jax.clear_caches()
    mlir.make_ir_context.cache_clear()
    gc.collect()
    gc.freeze()  # what the module has imported


@pytest.fixture
def user_flags():
    """Programs of the test are compiled as for users."""
    from user_flags import users_flags

    with users_flags():
        yield


@pytest.fixture
def few_digits(monkeypatch):
    """Half of the digits of scikit-learn, which take half of the time."""
    from sklearn import datasets

    load = datasets.load_digits
    monkeypatch.setattr(
        datasets, "load_digits", lambda **options: tuple(part[:900] for part in load(**options))
    )


@pytest.fixture
def hide_package(monkeypatch):
    """`hide_package(name)` lets imports of the package fail, as where it is not installed."""
    real = builtins.__import__

    def hide(package):
        def without(name, *arguments):
            if name.partition(".")[0] == package:
                raise ImportError(name)
            return real(name, *arguments)

        monkeypatch.setattr(builtins, "__import__", without)

    return hide


@pytest.fixture
def strict_rank_promotion():
    """Arrays broadcast only where the code says so."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="session")
def small_config():
    """A config of mnist_ga that trains in seconds."""
    from experiments.autoencoder.checks import check
    from experiments.autoencoder.config import Config

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
def front_config():
    """A config of gemonn that evolves in seconds."""
    from experiments.front.checks import check
    from experiments.front.config import Config

    return check(
        Config(
            method="gemonn",
            hidden=(32,),
            population_size=10,
            budget=2e5,
            batch_size=50,
            refine_steps=10,
            final_refine_steps=20,
            lowest_density=0.01,
            quiet=True,
        )
    )


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)` gives a directory that one test process fills by `make(directory)`.

    The other processes wait until it is complete.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def directory(name, make):
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / name).exists():
                partial = tmp_path_factory.mktemp(name)
                make(partial)
                partial.rename(root / name)
        return root / name

    return directory


@pytest.fixture(scope="session")
def small_run(small_config, made_once):
    """The directory of a finished run of the small config."""
    from experiments.autoencoder import training
    from experiments.datasets.catalog import load

    return made_once(
        "small_run", lambda directory: training.run(small_config, load("mnist5k"), directory)
    )


@pytest.fixture(scope="session")
def front_dataset():
    """A part of the embedded set."""
    from experiments.datasets.catalog import load

    whole = load("mnist5k")
    parts = {
        name: getattr(whole, name)[: 1_000 if name.startswith("train") else 200]
        for name in whole._fields[2:]
    }
    return whole._replace(**parts)


@pytest.fixture(scope="session")
def front_run(front_config, front_dataset, made_once):
    """The directory of a finished run of the front config on that part."""
    from experiments.front import training

    return made_once(
        "front_run", lambda directory: training.run(front_config, front_dataset, directory)
    )


@pytest.fixture(scope="session")
def made_run(tmp_path_factory):
    """A small run with random weights, as anyone may send one."""
    from made_runs import make_run

    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(made_run, tmp_path):
    """A copy of the made run to damage."""
    return shutil.copytree(made_run, tmp_path / "run")


@pytest.fixture
def refuses(run, tmp_path, monkeypatch, capsys):
    """`refuses(*parts)` checks that the run is refused with all of them in the sentence."""
    from refusals import refused

    def check(*parts):
        monkeypatch.chdir(tmp_path)
        arguments = ["mnist_ga", "predict", "--run", run, run / "digit.png"]
        line = refused(arguments, tmp_path, monkeypatch, capsys, most=50 * 10**6)
        assert not [part for part in parts if part not in line], line

    return check
