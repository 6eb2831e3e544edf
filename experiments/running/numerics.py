"""Settings of JAX and XLA that change the numbers of a run, as they are in effect."""

import os
import re
from pathlib import Path

_JAX = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_safer_randint",
    "jax_high_dynamic_range_gumbel",
    "jax_random_seed_offset",
    "jax_default_matmul_precision",
    "jax_allow_f16_reductions",
    "jax_softmax_custom_jvp",
    "jax_disable_jit",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
    "jax_exec_time_optimization_effort",
    "jax_use_direct_linearize",
    "jax_use_shardy_partitioner",
)
"""Options of `jax.config`, of which each version of JAX has some."""

_VARIABLES = ("NVIDIA_TF32_OVERRIDE", "LIBTPU_INIT_ARGS")

_HARMLESS = re.compile(
    "dump|device_count|cache|profil|trace|traceme|logging|verbose|timeout|cuda_data_dir"
    "|parallel_codegen|compilation_parallelism|sdc_checker"
)
"""Flags of XLA about devices, files, messages, time limits and the speed of compiling."""

_DEFAULTS = {
    "xla_allow_excess_precision": "true",
    "xla_backend_optimization_level": "3",
    "xla_cpu_enable_fast_math": "false",
    "xla_cpu_enable_fast_min_max": "false",
    "xla_cpu_fast_math_honor_division": "true",
    "xla_cpu_fast_math_honor_functions": "true",
    "xla_cpu_fast_math_honor_infs": "true",
    "xla_cpu_fast_math_honor_nans": "true",
    "xla_gpu_deterministic_ops": "false",
    "xla_gpu_enable_fast_min_max": "false",
    "xla_gpu_exclude_nondeterministic_ops": "false",
    "xla_llvm_disable_expensive_passes": "false",
}
"""Values that are the same as no flag, of flags that users set."""

_BOOLEANS = {"1": "true", "t": "true", "yes": "true", "0": "false", "f": "false", "no": "false"}


def in_effect() -> dict[str, str]:
    """The value of each setting that changes numbers, by name."""
    import jax

    known = getattr(jax.config, "values", {})  # some options are not attributes
    options = {
        name: getattr(jax.config, name, known.get(name))
        for name in _JAX
        if hasattr(jax.config, name) or name in known
    }
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    flags = {"XLA_FLAGS": xla_flags(os.environ.get("XLA_FLAGS", ""))}
    return {name: str(value) for name, value in {**options, **variables, **flags}.items()}


def xla_flags(text: str) -> str:
    """The flags of XLA_FLAGS that change numbers, sorted, each once; "None" without any.

    XLA takes text that does not start with a dash for the name of a file with the flags.
    """
    text = text.strip()
    if text and not text.startswith("-"):
        try:
            text = Path(text).read_text()
        except (OSError, ValueError):
            return text
    given = {}
    for word in text.split():
        name, _, value = word.lstrip("-").partition("=")
        value = value.strip("'\"").lower() or "true"
        is_boolean = _DEFAULTS.get(name) in ("true", "false")
        given[name] = _BOOLEANS.get(value, value) if is_boolean else value
    kept = [
        f"--{name}={value}"
        for name, value in sorted(given.items())
        if not _HARMLESS.search(name) and _DEFAULTS.get(name) != value
    ]
    return " ".join(kept) or "None"
