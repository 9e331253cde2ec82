"""Attention to the newest tokens, and perhaps to the first ones.

References:
    Xiao et al., "Efficient streaming language models with attention sinks", arXiv:2309.17453.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jax import numpy as jnp

from models.accuracy.decode_layer import Attend, Attended, Chunk, Counts, DecodeLayer, in_chunks, reads_of
from models.accuracy.masked_softmax import scores_of, visible_to, weighted_values, weights_of

SINKS = 4
"""First tokens that StreamingLLM keeps (Xiao et al., section 3.2)."""


@dataclass(frozen=True)
class Window:
    """Attends to one token in ``compression``: the newest ones and, among their number, the first ``num_sinks``.

    Positions stay those of the text. StreamingLLM counts them within the window, so that a text may outgrow the positions that
    a model was trained on; texts here do not.

    Attributes:
        compression: Tokens in the context over tokens attended to.
        num_sinks: First tokens that are always attended to; fewer where the window has no more than these.
    """

    compression: float
    num_sinks: int = 0

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns tokens attended to, and first tokens among them."""
        kept = np.maximum(1, np.ceil(context_lens / self.compression)).astype(np.int32)
        return kept, np.minimum(self.num_sinks, kept - 1).astype(np.int32)

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends."""
        return attend_to_ends


def attend_to_ends(layer: DecodeLayer, counts: tuple[jax.Array, jax.Array]) -> Attended:
    """Attends to the newest and to the first tokens.

    Args:
        layer: Layer.
        counts: Tokens attended to, and first tokens among them, int32 ``[Q]`` each.
    """
    _, kv_heads, tokens, head_size = layer.keys.shape

    def attend_chunk(chunk: Chunk) -> Attended:
        kept, first = (count[chunk.place] for count in counts)
        oldest = chunk.context_lens - (kept - first)
        token = jnp.arange(tokens)
        chosen = (token >= oldest[:, None]) | (token < first[:, None])
        chosen &= visible_to(chunk.context_lens, tokens)
        weights = weights_of(scores_of(chunk.query, layer.keys), chosen)
        elements = 2.0 * kv_heads * head_size * kept
        return Attended(weighted_values(weights, layer.values), reads_of(elements, layer))

    return in_chunks(layer, attend_chunk)
