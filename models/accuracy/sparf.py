"""SparF attention as a drive does it.

References:
    InstInfer, arXiv:2409.04992, section 4.
"""

from dataclasses import dataclass

import jax
import numpy as np

from models.accuracy.channel_attention import Wanted, attend_by_channels, counts_of
from models.accuracy.decode_layer import Attend, Attended, Counts, DecodeLayer
from models.accuracy.page_shape import PageShape


@dataclass(frozen=True)
class SparFAttention:
    """Attends as a drive does.

    Attributes:
        wanted: r, k and the newest tokens; contexts of k tokens or less are attended to exactly.
        pages: How K and V lie in flash; None to count no pages.
    """

    wanted: Wanted
    pages: PageShape | None = None

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns r, k and the newest tokens among them."""
        return counts_of(self.wanted, context_lens, head_size)

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends."""
        return _AttendByPages(self.pages)


@dataclass(frozen=True)
class _AttendByPages:
    pages: PageShape | None

    def __call__(self, layer: DecodeLayer, counts: tuple[jax.Array, jax.Array, jax.Array]) -> Attended:
        return attend_by_channels(layer, counts, self.pages)
