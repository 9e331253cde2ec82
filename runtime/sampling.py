"""Chooses the next token, on the device that has the logits."""

from __future__ import annotations

import jax
from jax import numpy as jnp


def greedy(logits: jax.Array, logits_at: jax.Array) -> jax.Array:
    """Returns int32[batch], the likeliest token of each row.

    Args:
        logits: Float ``[batch, n, vocab]``; n is 1 where the model itself selects a position.
        logits_at: int32[batch], the position wanted otherwise.
    """
    if logits.shape[1] == 1:
        row = logits[:, 0]
    else:
        row = jnp.take_along_axis(logits, logits_at[:, None, None], axis=1)[:, 0]
    return jnp.argmax(row.astype(jnp.float32), axis=-1).astype(jnp.int32)


sample_greedy = jax.jit(greedy)
