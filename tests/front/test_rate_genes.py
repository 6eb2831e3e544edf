"""Learning rates as genes of the networks of a ladder."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import few

import gajax
from experiments import gemonn
from experiments.datasets.catalog import load
from experiments.front import algorithms, training
from experiments.front.checks import check

CONFIG = check(
    gemonn.Config(
        hidden=(8,), population_size=3, batch_size=25, refine_steps=3, budget=None, generations=2
    )
)


def test_a_gene_multiplies_the_steps_of_its_network():
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}
    plain = algorithms.rising_with_sparsity(CONFIG)
    make = algorithms.rising_with_sparsity(replace(CONFIG, rate_genes=True))
    one, two = (
        optimizer.update(params, optimizer.init(params), params)[0]
        for optimizer in (plain, make({"rate": 2.5}))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2.5 * a, b, rtol=1e-6), one, two)
    individual = algorithms.individual(replace(CONFIG, rate_genes=True), params)
    assert isinstance(individual, gajax.Individual) and individual.hyper == {"rate": 1}


@pytest.mark.heavy  # the ladder of the library is tested with genes of rates
def test_genes_change_a_front():
    dataset = few(load("mnist5k"))
    with_genes = replace(CONFIG, rate_genes=True)
    found, other = (training.train(one, dataset=dataset).rows for one in (with_genes, CONFIG))
    assert found[-1]["best_loss"] != other[-1]["best_loss"]
