"""Attention to some of the tokens: scores, weights and outputs in float32.

Letters as in :mod:`models.accuracy`.
"""

import jax
from jax import numpy as jnp

from models.attention import MASKED_LOGIT


def scores_of(query: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns ``q.K / sqrt(D)``: float32 ``[B, K, G, C, S]``.

    Args:
        query: ``[B, K, G, C, D]``.
        keys: ``[B, K, S, D]``.
    """
    products = jnp.einsum(
        "bkgcd,bksd->bkgcs", query, keys.astype(query.dtype), preferred_element_type=jnp.float32
    )
    return products * query.shape[-1] ** -0.5


def visible_to(context_lens: jax.Array, num_tokens: int) -> jax.Array:
    """Returns which tokens come no later than each query: bool ``[C, S]``."""
    return jnp.arange(num_tokens) < context_lens[:, None]


def weights_of(scores: jax.Array, chosen: jax.Array) -> jax.Array:
    """Returns the softmax over chosen tokens, zero elsewhere.

    Args:
        scores: float32 ``[B, K, G, C, S]``.
        chosen: bool, broadcast to the scores.
    """
    return jax.nn.softmax(jnp.where(chosen, scores, MASKED_LOGIT), axis=-1)


def weighted_values(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Returns float32 ``[B, K, G, C, D]``: weights ``[B, K, G, C, S]`` times values ``[B, K, S, D]``."""
    return jnp.einsum("bkgcs,bksd->bkgcd", weights, values.astype(weights.dtype))
