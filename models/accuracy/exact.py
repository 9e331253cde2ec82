"""Exact attention, which every method is held against."""

from dataclasses import dataclass

import numpy as np

from models.accuracy.decode_layer import Attend, Attended, Chunk, Counts, DecodeLayer, in_chunks, reads_of
from models.accuracy.masked_softmax import scores_of, visible_to, weighted_values, weights_of
from models.accuracy.page_shape import PageShape


@dataclass(frozen=True)
class Exact:
    """Attends to every token.

    Attributes:
        pages: How K and V lie in flash; None to count no pages.
    """

    pages: PageShape | None = None

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns nothing: there is no choice."""
        return ()

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends."""
        return _AttendExactly(self.pages)


@dataclass(frozen=True)
class _AttendExactly:
    pages: PageShape | None

    def __call__(self, layer: DecodeLayer, counts: tuple[()]) -> Attended:
        _, kv_heads, tokens, head_size = layer.keys.shape

        def attend_chunk(chunk: Chunk) -> Attended:
            lens = chunk.context_lens
            weights = weights_of(scores_of(chunk.query, layer.keys), visible_to(lens, tokens))
            pages = None if self.pages is None else kv_heads * self.pages.dense(lens)
            reads = reads_of(2.0 * kv_heads * head_size * lens, layer, pages)
            return Attended(weighted_values(weights, layer.values), reads)

        return in_chunks(layer, attend_chunk)
