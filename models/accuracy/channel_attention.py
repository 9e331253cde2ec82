"""Attention to tokens that a few channels of K point to: what SparQ and SparF have in common.

References:
    Ribar et al., "SparQ attention", arXiv:2312.04985, algorithm 1.
"""

from typing import Protocol

import jax
import numpy as np
from jax import numpy as jnp

from models.accuracy.decode_layer import Attended, Chunk, Counts, DecodeLayer, in_chunks, reads_of
from models.accuracy.largest import largest
from models.accuracy.masked_softmax import scores_of, visible_to, weighted_values, weights_of
from models.accuracy.page_shape import PageShape


class Wanted(Protocol):
    """How much is read."""

    def channels(self, head_size: int) -> int:
        """Returns r, the channels of K from which tokens are chosen."""
        ...

    def tokens(self, context_len: int) -> int:
        """Returns k, the tokens attended to."""
        ...

    def newest(self, context_len: int) -> int:
        """Returns how many of the k tokens are the newest ones, whatever they weigh."""
        ...


def counts_of(wanted: Wanted, context_lens: np.ndarray, head_size: int) -> Counts:
    """Returns r, ``[]``, then k and the newest among them, ``[Q]``."""
    tokens = [wanted.tokens(int(n)) for n in context_lens]
    newest = [wanted.newest(int(n)) for n in context_lens]
    return (
        np.array(wanted.channels(head_size), np.int32),
        np.array(tokens, np.int32),
        np.array(newest, np.int32),
    )


def attend_by_channels(
    layer: DecodeLayer, counts: tuple[jax.Array, jax.Array, jax.Array], shape: PageShape | None = None
) -> Attended:
    """Attends with every query of a layer.

    Per KV head: the r channels of the largest ``|q|``, summed over the query heads that share it, give scores over
    ``sqrt(D |q[i]|_1 / |q|_1)``; the k tokens that weigh most by these are attended to, and what the others weigh goes to the
    mean of V, except where query heads share a KV head. Contexts of k tokens or less are attended to exactly.

    Args:
        layer: Layer.
        counts: As :func:`counts_of` returns them.
        shape: How K and V lie in flash, to count pages; None to count none.
    """
    _, kv_heads, num_tokens, head_size = layer.keys.shape
    num_channels, num_chosen, num_newest = counts
    means = _running_mean(layer.values) if layer.query.shape[2] == 1 else None

    def attend_chunk(chunk: Chunk) -> Attended:
        count, newest = num_chosen[chunk.place], num_newest[chunk.place]
        visible = visible_to(chunk.context_lens, num_tokens)
        magnitudes = jnp.abs(chunk.query)
        channels = largest(magnitudes.sum(axis=2), num_channels)
        pruned = jnp.where(channels[:, :, None], chunk.query, 0.0)
        kept = jnp.abs(pruned).sum(axis=-1, keepdims=True)
        sharper = jnp.sqrt(magnitudes.sum(axis=-1, keepdims=True) / jnp.where(kept > 0, kept, 1.0))
        weights = weights_of(scores_of(pruned * jnp.where(kept > 0, sharper, 1.0), layer.keys), visible)

        older = jnp.arange(num_tokens) < (chunk.context_lens - newest)[:, None]
        summed = jnp.where(older, weights.sum(axis=2), -1.0)
        tokens = largest(summed, count - newest) | (visible & ~older)
        exactly = (count >= chunk.context_lens)[:, None]
        tokens = jnp.where(exactly, visible, tokens)

        output = weighted_values(
            weights_of(scores_of(chunk.query, layer.keys), tokens[:, :, None]), layer.values
        )
        if means is not None:
            alpha = jnp.where(tokens[:, :, None], weights, 0.0).sum(axis=-1, keepdims=True)
            alpha = jnp.where(exactly, 1.0, alpha)
            output = alpha * output + (1 - alpha) * means[:, :, None, chunk.context_lens - 1]
        dense = 2 * head_size * chunk.context_lens
        elements = jnp.where(exactly[:, 0], dense, num_channels * chunk.context_lens + 2 * head_size * count)
        reads = reads_of(kv_heads * elements.astype(jnp.float32), layer)
        if shape is None:
            return Attended(output, reads)
        pages = shape.count(channels, tokens, chunk.context_lens)
        every = kv_heads * shape.dense(chunk.context_lens).astype(jnp.float32)
        pages = jnp.where(exactly[:, 0], every, pages)
        return Attended(output, reads._replace(pages=pages))

    return in_chunks(layer, attend_chunk)


def _running_mean(values: jax.Array) -> jax.Array:
    """Returns the mean of the tokens up to each one, in float32: ``[B, K, S, D]``."""
    counts = jnp.arange(1, values.shape[2] + 1, dtype=jnp.float32)
    return jnp.cumsum(values.astype(jnp.float32), axis=2) / counts[:, None]
