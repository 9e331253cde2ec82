"""Which rows of a run a share of an attention has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partitioner.shares import Share

NO_SLOT = -1
"""Stands in a run's slots for a row that belongs to no request."""


@dataclass(frozen=True, eq=False)
class ShareRows:
    """Holds the rows that a share has of a run; rows that belong to no request are left out.

    Attributes:
        taken: Where they are in the run.
        own: Integer ``[n]``, where they are in the share.
    """

    taken: slice | np.ndarray
    own: np.ndarray

    @property
    def count(self) -> int:
        """Returns how many there are."""
        return len(self.own)

    @staticmethod
    def of(share: Share | None, slots: np.ndarray) -> ShareRows:
        """Returns those of a share, None for all rows of the micro-batch.

        Args:
            share: The share.
            slots: Integer ``[rows]``, the row of the micro-batch that each row of the run is, or :data:`NO_SLOT`.
        """
        first, stop = share.rows if share is not None else (0, int(slots.max(initial=0)) + 1)
        taken = np.flatnonzero((slots >= first) & (slots < stop))
        own = slots[taken] - first
        if taken.size and taken[-1] - taken[0] + 1 == taken.size:
            return ShareRows(slice(int(taken[0]), int(taken[-1]) + 1), own)
        return ShareRows(taken if taken.size else slice(0, 0), own)
