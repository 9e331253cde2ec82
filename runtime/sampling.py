"""Chooses the next token, on the device that has the logits."""

from __future__ import annotations

import jax
import numpy as np
from jax import numpy as jnp

from runtime.errors import SessionError

NO_TOKEN = -1
"""Stands where logits name no likeliest token: one is NaN, or the largest is infinite."""


def greedy(logits: jax.Array, logits_at: jax.Array) -> jax.Array:
    """Returns int32[batch], the likeliest token of each row, or :data:`NO_TOKEN`.

    Args:
        logits: Float ``[batch, n, vocab]``; n is 1 where the model itself selects a position. Minus infinity rules a token out.
        logits_at: int32[batch], the position wanted otherwise.
    """
    if logits.shape[1] > 1:
        logits = jnp.take_along_axis(logits, logits_at[:, None, None], axis=1)
    row = logits[:, 0].astype(jnp.float32)
    likeliest = jnp.argmax(row, axis=-1).astype(jnp.int32)
    return jnp.where(jnp.isfinite(jnp.max(row, axis=-1)), likeliest, NO_TOKEN)


def check_chosen(tokens: np.ndarray, row: int, first: int = 0) -> None:
    """Requires that there is a likeliest token wherever one was asked for.

    Args:
        tokens: Integer ``[n]``, new tokens of a prompt.
        row: The prompt.
        first: Number of the first of them.

    Raises:
        SessionError: A token could not be chosen.
    """
    wrong = np.flatnonzero(np.asarray(tokens) == NO_TOKEN)
    if wrong.size:
        raise SessionError(
            f"the logits of prompt {row} are NaN or infinite at new token {first + int(wrong[0])}; look for NaN or infinity in "
            "the weights, and for overflow where activations are float16"
        )
