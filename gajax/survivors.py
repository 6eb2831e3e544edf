"""The survivors of a generation of the genetic algorithm, and where they stand on the devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gajax import individual, sharding


def survival_order(loss: Float[Array, " P"], selected: Int[Array, " S"]) -> Int[Array, " P"]:
    """All individuals, the selected ones first and both parts by their loss.

    Those whose loss is not finite come last, even where they are selected.
    """
    is_out = jnp.ones(len(loss), bool).at[selected].set(False)
    return jnp.lexsort((loss, is_out, ~jnp.isfinite(loss)))


def eligible_parents(
    params: Any, trained: Float[Array, " P"], loss: Float[Array, " P"], survivors: int
) -> tuple[Int[Array, " S"], Int[Array, ""]]:
    """Positions of the survivors, the eligible parents first, and how many these are.

    Eligible are those with finite genes, best of all with a finite loss, `loss` of the last scoring
    and `trained` of the training since.
    """
    position_of_rank, rank_at_position = layout(len(loss), survivors)
    positions = jnp.sort(position_of_rank[:survivors])
    params, trained = sharding.first((params, trained), survivors)
    has_finite_genes = jax.vmap(individual.is_finite)(params)
    health = sharding.replicate(4 * has_finite_genes + jnp.isfinite(trained))
    health += 2 * jnp.isfinite(loss[positions])
    order = jnp.lexsort((rank_at_position[positions], -health))
    return positions[order], jnp.sum(health == health.max())


def layout(size: int, survivors: int) -> tuple[Int[Array, " P"], Int[Array, " P"]]:
    """The position of the individual of each rank, and the rank of the one at each position.

    Within a mesh every device has its share of the survivors, and behind them its share of the
    others, so that all devices have the same number to train.
    """
    devices = sharding.device_count()
    sharding.check(size)
    sharding.check(survivors, "number of survivors")
    best, others = np.arange(survivors), np.arange(survivors, size)
    shares = best.reshape(devices, -1), others.reshape(devices, -1)
    rank_at_position = np.concatenate(shares, axis=1).reshape(-1)
    return jnp.asarray(np.argsort(rank_at_position)), jnp.asarray(rank_at_position)
