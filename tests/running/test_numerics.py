"""Which settings of JAX and XLA are taken for those that change numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.running import numerics

FAST = "--xla_cpu_enable_fast_math=true"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "None"),
        ("--xla_cpu_enable_fast_math", FAST),
        ("--xla_cpu_enable_fast_math=1  --xla_dump_to=somewhere", FAST),
        ("--xla_cpu_enable_fast_math=false", "None"),
        (f"--xla_cpu_enable_fast_math=0 {FAST}", FAST),
        (f"{FAST} --xla_cpu_enable_fast_math=False", "None"),
        ("--xla_b=2 --xla_a=1.5", "--xla_a=1.5 --xla_b=2"),
        ("--xla_backend_optimization_level=3", "None"),
        ("--xla_backend_optimization_level=1", "--xla_backend_optimization_level=1"),
        ("--xla_force_host_platform_device_count=8", "None"),
        ("--xla_dump_to=/dump --xla_dump_hlo_as_text --xla_hlo_profile=true", "None"),
        ("--xla_gpu_per_fusion_autotune_cache_dir=/cache --xla_gpu_cuda_data_dir=/cuda", "None"),
        ("--xla_cpu_parallel_codegen_split_count=1", "None"),
        ("--xla_cpu_collective_call_terminate_timeout_seconds=900", "None"),
        ("--xla_gpu_autotune_level=0", "--xla_gpu_autotune_level=0"),
    ],
)
def test_flags_of_xla(text, expected):
    assert numerics.xla_flags(text) == expected


def test_flags_of_xla_in_a_file(tmp_path):
    path = tmp_path / "flags"
    path.write_text(f"{FAST}\n--xla_dump_to=somewhere\n")
    assert numerics.xla_flags(str(path)) == FAST
    assert numerics.xla_flags(str(tmp_path / "missing")) == str(tmp_path / "missing")


def effective(**variables):
    """The settings in a process with these environment variables."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    program = (
        "import json; from experiments.running import numerics; "
        "print(json.dumps(numerics.in_effect()))"
    )
    place = {"cwd": Path(__file__).parents[2], "env": environment | variables}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, **place)
    return json.loads(done.stdout)


def test_environment_variables_take_effect():
    usual = effective(
        JAX_NUM_CPU_DEVICES="4",
        JAX_COMPILATION_CACHE_DIR="somewhere",
        JAX_DEBUG_NANS="1",
        JAX_THREEFRY_PARTITIONABLE="1",
        XLA_FLAGS="--xla_dump_to=somewhere",
    )
    other = effective(
        JAX_THREEFRY_PARTITIONABLE="0",
        JAX_ENABLE_X64="1",
        JAX_DEFAULT_MATMUL_PRECISION="bfloat16",
        JAX_DEFAULT_PRNG_IMPL="rbg",
        JAX_DISABLE_MOST_OPTIMIZATIONS="1",
        NVIDIA_TF32_OVERRIDE="0",
        XLA_FLAGS=FAST,
    )
    assert usual["XLA_FLAGS"] == "None" and usual["jax_threefry_partitionable"] == "True"
    assert {name for name in usual if usual[name] != other[name]} == {
        "jax_threefry_partitionable",
        "jax_enable_x64",
        "jax_default_matmul_precision",
        "jax_default_prng_impl",
        "jax_disable_most_optimizations",
        "NVIDIA_TF32_OVERRIDE",
        "XLA_FLAGS",
    }
