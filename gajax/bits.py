"""Random numbers and permutations computed where they are needed, without a pass of their own."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

_ROUNDS = 6
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def words(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """The same words as `jax.random.bits(key, shape)`, at a fraction of its time on a CPU.

    JAX draws by a loop over the rounds of Threefry, each of which passes all words through memory.
    Written out, the rounds fuse with what needs the words. Other generators than JAX's default
    draw as ever. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    count = math.prod(shape)
    if not _is_threefry(key) or count >= 2**32:
        return jax.random.bits(key, shape, jnp.uint32)
    return _threefry(key, lax.iota(jnp.uint32, count).reshape(shape))


def _is_threefry(key: Key[Array, ""]) -> bool:
    is_partitionable = jax.config.values["jax_threefry_partitionable"]
    return jax.random.key_impl(key) == "threefry2x32" and is_partitionable


def _threefry(key: Key[Array, ""], counters: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The word at each place in the stream of a key."""
    first, second = jax.random.key_data(key)
    keys = first, second, first ^ second ^ jnp.uint32(0x1BD11BDA)
    left, right = keys[0], counters + keys[1]
    for turn in range(5):
        for rotation in _ROTATIONS[turn % 2]:
            left = left + right
            right = (right << rotation) | (right >> (32 - rotation))
            right = left ^ right
        left = left + keys[(turn + 1) % 3]
        right = right + keys[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return left ^ right


def normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal numbers in float32, from one word each."""
    # 23 random bits behind the exponent of 1 make a float from 1 to 2.
    one_to_two = lax.bitcast_convert_type(words(key, shape) >> 9 | 0x3F800000, jnp.float32)
    # The half step keeps both ends off -1 and 1, where the inverse is infinite.
    return math.sqrt(2) * lax.erf_inv(2 * (one_to_two - 1.5) + 2.0**-23)


def permuted(
    key: Key[Array, ""], number: Int[Array, " T"], indices: Int[Array, "T K"], size: int
) -> Int[Array, "T K"]:
    """Elements of random permutations of `size` numbers, each row of one with a number of its own.

    A bijection on the numbers of as many bits as `size` has, applied until the result is below
    `size`, so the cost depends on the number of indices and not on `size`. Source: Black & Rogaway,
    "Ciphers with arbitrary finite domains", CT-RSA 2002 (cycle walking).
    """
    width = max(1, (size - 1).bit_length())
    shift, mask = (width + 1) // 2, 2**width - 1
    number, draws = number.astype(jnp.uint32), 2 * _ROUNDS
    if _is_threefry(key):
        constants = _threefry(key, number[:, None] * draws + lax.iota(jnp.uint32, draws)[None])
    else:
        keys = jax.vmap(partial(jax.random.fold_in, key))(number)
        constants = jax.vmap(lambda key: jax.random.bits(key, (draws,), jnp.uint32))(keys)

    def round_(turn: Array, values: UInt32[Array, "T K"]) -> UInt32[Array, "T K"]:
        addend, factor = constants[:, 2 * turn, None], constants[:, 2 * turn + 1, None]
        values = (values + addend) * (factor | 1) & mask
        return values ^ values >> shift

    def walk(values: UInt32[Array, "T K"]) -> UInt32[Array, "T K"]:
        return jnp.where(values >= size, lax.fori_loop(0, _ROUNDS, round_, values), values)

    # The highest bit puts each outside at first, and the rounds mask it away.
    start = indices.astype(jnp.uint32) | jnp.uint32(2**31)
    return lax.while_loop(lambda values: (values >= size).any(), walk, start).astype(jnp.int32)
