"""How the (sequence, KV head) pairs of an attention are cut into parts that cores take one after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.compiling import SOURCE_DIGEST, entry_point


def _build(digest: int) -> Callable[..., np.ndarray]:
    """Returns the function, bound to the source it is made of; see :func:`runtime.kernels.compiling.entry_point`."""

    def split_pairs(tokens: np.ndarray, num_heads: int, tokens_per_part: int, most_parts: int) -> np.ndarray:
        """Cuts pairs, sequence-major, into runs of about equal numbers of tokens.

        Args:
            tokens: int64 ``[n]``, tokens that each head of a sequence reads.
            num_heads: Heads of each sequence.
            tokens_per_part: Tokens that are worth a part, at least 1.
            most_parts: Parts at most, at least 1.

        Returns:
            Where runs begin and the last one ends, int64 ``[parts + 1]``; there is one at least.
        """
        _ = digest  # what the compiler keeps is renewed with it
        pairs = len(tokens) * num_heads
        total = 0
        for i in range(len(tokens)):
            total += tokens[i] * num_heads
        parts = max(1, min(most_parts, pairs, total // tokens_per_part))
        edges = np.empty(parts + 1, np.int64)
        edges[0] = 0
        part, before = 1, 0
        for i in range(len(tokens)):
            own = tokens[i] * num_heads
            while part < parts and total * part < (before + own) * parts:
                edges[part] = i * num_heads + (total * part // parts - before) // tokens[i]
                part += 1
            before += own
        edges[part:] = pairs
        return edges

    return split_pairs


split_pairs: Any = entry_point(_build(SOURCE_DIGEST))
"""The compiled function; releases the interpreter lock."""
