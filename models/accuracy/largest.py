"""The largest of some numbers, as a mask; how many may differ from row to row."""

import jax
from jax import lax
from jax import numpy as jnp

_BITS = 31


def largest(values: jax.Array, count: jax.Array) -> jax.Array:
    """Returns which numbers are the ``count`` largest along the last axis; of equal ones, those that come first.

    Numbers that are not negative are in the order of their bits, so the smallest chosen one is found bit by bit, in one pass
    over the numbers each. That needs no sort, and no bound on the count.

    Args:
        values: float32 ``[..., n]``; negative numbers are never chosen.
        count: Integer ``[...]``, broadcast to the rows.
    """
    bits = lax.bitcast_convert_type(values, jnp.int32)
    wanted = jnp.broadcast_to(count, values.shape[:-1])

    def settle(step: jax.Array, smallest: jax.Array) -> jax.Array:
        tried = smallest | (1 << (_BITS - 1 - step))
        enough = jnp.sum(bits >= tried[..., None], axis=-1) >= wanted
        return jnp.where(enough, tried, smallest)

    smallest = lax.fori_loop(0, _BITS, settle, jnp.zeros(wanted.shape, jnp.int32))[..., None]
    above = bits > smallest
    left = wanted[..., None] - above.sum(axis=-1, keepdims=True)
    equal = bits == smallest
    return above | (equal & (jnp.cumsum(equal, axis=-1) <= left))
