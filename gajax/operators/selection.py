"""Selection: `operator(key, loss, count) -> indices`, lower loss is better.

A loss that is not finite counts as infinite: such an individual comes behind every other.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Real

from gajax import bits


def truncation(key: Key[Array, ""], loss: Float[Array, " P"], count: int) -> Int[Array, " count"]:
    """The `count` individuals of lowest loss, best first; the key decides nothing.

    Example:
      >>> gajax.selection.truncation(jax.random.key(0), jnp.array([0.3, jnp.nan, 0.1, 0.2]), 2)
      Array([2, 3], dtype=int32)
    """
    del key
    return jnp.argsort(_comparable(loss))[:count]


def tournament(
    key: Key[Array, ""], loss: Real[Array, " P"], count: int, *, size: int = 2
) -> Int[Array, " count"]:
    """The winners of `count` tournaments of `size`, drawn from random permutations.

    No individual enters twice before all have entered once, so with `count * size` equal to P the
    winners are distinct and the best is among them.

    Example:
      >>> losses = jnp.array([0.3, 0.4, 0.1, 0.2])
      >>> winners = gajax.selection.tournament(jax.random.key(0), losses, 2)
      >>> len(set(winners.tolist())), 2 in winners
      (2, True)
    """
    individuals = loss.shape[0]
    rounds = -(-count * size // individuals)
    places = jnp.broadcast_to(jnp.arange(individuals), (rounds, individuals))
    entrants = bits.permuted(key, jnp.arange(rounds), places, individuals)
    entrants = entrants.reshape(-1)[: count * size].reshape(count, size)
    winner = jnp.argmin(_comparable(loss)[entrants], axis=1)
    return jnp.take_along_axis(entrants, winner[:, None], axis=1)[:, 0]


def _comparable(loss: Real[Array, " P"]) -> Float[Array, " P"]:
    return jnp.where(jnp.isfinite(loss), loss, jnp.inf)
