"""Exact attention, which every method is held against."""

from dataclasses import dataclass

import jax
import numpy as np
from jax import numpy as jnp

from models.accuracy.decode_layer import Attend, Attended, Chunk, Counts, DecodeLayer, Reads, in_chunks
from models.accuracy.masked_softmax import scores_of, visible_to, weighted_values, weights_of


@dataclass(frozen=True)
class Exact:
    """Attends to every token."""

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns nothing: there is no choice."""
        return ()

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends."""
        return attend_exactly


def attend_exactly(layer: DecodeLayer, counts: tuple[()]) -> Attended:
    """Attends to every token with every query of a layer."""
    _, kv_heads, tokens, head_size = layer.keys.shape

    def attend_chunk(chunk: Chunk) -> Attended:
        weights = weights_of(scores_of(chunk.query, layer.keys), visible_to(chunk.context_lens, tokens))
        elements = 2.0 * kv_heads * head_size * chunk.context_lens
        return Attended(weighted_values(weights, layer.values), reads_of(elements, layer))

    return in_chunks(layer, attend_chunk)


def reads_of(elements: jax.Array, layer: DecodeLayer) -> Reads:
    """Returns reads that are equal in all rows, from elements ``[C]``."""
    rows = layer.query.shape[0]
    return Reads(jnp.broadcast_to(elements.astype(jnp.float32), (rows, *elements.shape)))
