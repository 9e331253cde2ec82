"""Chooses the next token, on the device that has the logits."""

from __future__ import annotations

import jax
import numpy as np
from jax import numpy as jnp

from runtime.errors import SessionError
from runtime.sampling_settings import RowSettings

NO_TOKEN = -1
"""Stands where logits name no likeliest token: one is NaN, or the largest is infinite."""


def greedy(logits: jax.Array, logits_at: jax.Array) -> jax.Array:
    """Returns int32[batch], the likeliest token of each row, or :data:`NO_TOKEN`.

    Args:
        logits: Float ``[batch, n, vocab]``; n is 1 where the model itself selects a position. Minus infinity rules a token out.
        logits_at: int32[batch], the position wanted otherwise.
    """
    return _greedy(_wanted(logits, logits_at))


def sample(logits: jax.Array, logits_at: jax.Array, length: jax.Array, settings: RowSettings) -> jax.Array:
    """Returns int32[batch], a token of each row as its settings say, or :data:`NO_TOKEN`.

    The noise of a draw belongs to the token's id, not to its rank, so logits that differ by a rounding rarely give another
    token.

    Args:
        logits: As for :func:`greedy`.
        logits_at: Likewise.
        length: int32[batch], tokens of each row so far: the position of the one that is chosen.
        settings: Of each row.

    References:
        Holtzman et al., The Curious Case of Neural Text Degeneration (arXiv 1904.09751), for ``top_p``; Gumbel, Statistical
        Theory of Extreme Values (1954), for the maximum of logits and noise as a draw by probability.
    """
    rows = _wanted(logits, logits_at)
    likeliest = _greedy(rows)
    draws = settings.temperature > 0.0

    def drawn() -> jax.Array:
        tokens = jax.vmap(_draw)(rows, jnp.maximum(length - settings.prompt_len, 0), settings)
        return jnp.where(draws & (likeliest != NO_TOKEN), tokens, likeliest)

    return jax.lax.cond(jnp.any(draws), drawn, lambda: likeliest)


def _draw(logits: jax.Array, number: jax.Array, settings: RowSettings) -> jax.Array:
    """Returns one row's token; logits ``[vocab]``."""
    scaled = (logits - jnp.max(logits)) / jnp.where(settings.temperature > 0.0, settings.temperature, 1.0)
    ranked = jnp.argsort(scaled, descending=True, stable=True)
    scores = scaled[ranked]
    kept = jnp.arange(scores.size) < settings.top_k
    probabilities = jax.nn.softmax(jnp.where(kept, scores, -jnp.inf))
    before = jnp.cumsum(probabilities) - probabilities
    kept &= (before < settings.top_p) | (settings.top_p >= 1.0)
    kept = kept.at[0].set(True)
    key = jax.random.fold_in(jax.random.key(settings.seed), number)
    noise = jax.random.gumbel(key, logits.shape, jnp.float32)[ranked]
    return ranked[jnp.argmax(jnp.where(kept, scores + noise, -jnp.inf))].astype(jnp.int32)


def _wanted(logits: jax.Array, logits_at: jax.Array) -> jax.Array:
    """Returns float32 ``[batch, vocab]``, the logits of the position wanted."""
    if logits.shape[1] > 1:
        logits = jnp.take_along_axis(logits, logits_at[:, None, None], axis=1)
    return logits[:, 0].astype(jnp.float32)


def _greedy(rows: jax.Array) -> jax.Array:
    likeliest = jnp.argmax(rows, axis=-1).astype(jnp.int32)
    return jnp.where(jnp.isfinite(jnp.max(rows, axis=-1)), likeliest, NO_TOKEN)


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
