"""Processes of a run with different settings are refused before they begin."""

import pytest
from distributed_runs import WHOLE, outcomes

PAIRS = {
    "--learning-rate": "0.01",
    "--seed": "1",
    "--seeds": "2",
    "--dataset": "rectangles",
    "--generations": "13",
    "--hidden": "9",
    "--model": "deep-autoencoder",
    "--population-size": "16",
    "--batch-size": "40",
    "--method": "nsga2",
    "--refine-steps": "2",
    "--precision": "bfloat16",
    "--validation": "100",
    "--budget": "1e6",
    "--chunk-size": "2",
    "JAX_ENABLE_X64": "1",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "--processes": "3",
}


@pytest.mark.heavy
def test_pairs_of_processes_that_disagree_are_refused(start_processes, tmp_path, record_property):
    refused = 0
    for name, value in PAIRS.items():
        is_flag = name.startswith("--")
        words, variables = ([name, value], {}) if is_flag else ([], {name: value})
        if name == "--model":
            words += ["--hidden", "8", "8", "8", "8"]
        given = [*WHOLE, "--out", str(tmp_path / "run")]
        found = outcomes(start_processes(2, *given, changes={1: (words, variables)}))
        shown = {"--seeds": "--seed", "JAX_ENABLE_X64": "jax_enable_x64"}.get(name, name)
        is_named = all(shown.lower() in errors.lower() for _, _, errors in found)
        is_one = all(errors.count("\n") == 1 for _, _, errors in found)
        is_clean = not (tmp_path / "run").exists()
        if [status for status, _, _ in found] == [2, 2] and is_named and is_one and is_clean:
            refused += 1
        else:
            print(name, found, is_clean)
    record_property("count", ("pairs of processes that disagree refused", refused, len(PAIRS), 0))
    assert refused == len(PAIRS)
