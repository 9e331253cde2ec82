"""SparQ attention.

References:
    Ribar et al., "SparQ attention", arXiv:2312.04985.
"""

import math
from dataclasses import dataclass

import numpy as np

from models.accuracy.channel_attention import attend_by_channels, counts_of
from models.accuracy.decode_layer import Attend, Counts


@dataclass(frozen=True)
class SparQ:
    """Reads one part in ``compression``: r = d / c channels, and the k = S / (2c) tokens that weigh most by them.

    As algorithm 1 has it, tokens are chosen by their weight alone; only the newest, of which k and v are at hand, is always
    attended to. SparF differs in that: it keeps a share of k for the newest tokens. And SparQ knows no pages.

    Attributes:
        compression: c, by traffic.
    """

    compression: float

    def channels(self, head_size: int) -> int:
        """Returns r."""
        return max(1, round(head_size / self.compression))

    def tokens(self, context_len: int) -> int:
        """Returns k."""
        return max(1, math.ceil(context_len / (2 * self.compression)))

    def newest(self, context_len: int) -> int:
        """Returns 1: the token whose query it is."""
        return 1

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns r, k and the newest tokens among them."""
        return counts_of(self, context_lens, head_size)

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends."""
        return attend_by_channels
