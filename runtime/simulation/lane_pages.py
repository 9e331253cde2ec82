"""Which channels the pages of a task lie on, counted without a mapping table."""

from __future__ import annotations

import numpy as np

from runtime.csd.geometry import Geometry
from runtime.csd.stripe import Stripe
from runtime.csd.task import Task


class LanePages:
    """Counts the pages of ranges of groups by channel.

    The groups of a lane lie on consecutive channels from where the stripe lets the lane begin, so whole turns over the channels
    need no counting one by one.

    Args:
        task: Shape of the cache.
        geometry: Of the flash.
    """

    def __init__(self, task: Task, geometry: Geometry) -> None:
        self._stripe = Stripe(geometry, task)
        self._channels = geometry.channels

    def token_starts(self, rows: np.ndarray, heads: int) -> np.ndarray:
        """Returns the channel on which each lane of sequences, int64 ``[n]``, begins, int64 ``[n, heads, 2]``, K before V."""
        return self._stripe.units(rows, np.zeros_like(rows), heads) % self._channels

    def channel_starts(self, rows: np.ndarray, heads: int) -> np.ndarray:
        """Returns the channel on which the channel pages of sequences begin, int64 ``[n, heads, channel_pages]``."""
        return self._stripe.channel_units(rows, np.zeros_like(rows), heads) % self._channels

    def count(self, starts: np.ndarray, first: int, last: int) -> np.ndarray:
        """Returns the pages by channel, int64 ``[channels]``.

        Args:
            starts: Channels on which lanes begin, any shape.
            first: First group.
            last: The one behind the last.
        """
        lanes = np.bincount((starts.reshape(-1) + first) % self._channels, minlength=self._channels)
        turns, rest = divmod(max(0, last - first), self._channels)
        pages = np.full(self._channels, turns * starts.size)
        for step in range(rest):
            pages += np.roll(lanes, step)
        return pages

    def count_marked(self, starts: np.ndarray, marked: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Returns the pages by channel of groups that are marked lane by lane, int64 ``[channels]``.

        Args:
            starts: Channels on which lanes begin, int64 ``[lanes]``.
            marked: Bool ``[kinds, groups]``.
            kinds: Which of them holds for each lane, int64 ``[lanes]``.
        """
        num_kinds, groups = marked.shape
        by_turn = np.zeros((num_kinds, -(-groups // self._channels) * self._channels), np.int64)
        by_turn[:, :groups] = marked
        by_offset = by_turn.reshape(num_kinds, -1, self._channels).sum(axis=1)
        at = (starts[:, None] + np.arange(self._channels)) % self._channels
        counted = np.bincount(at.reshape(-1), by_offset[kinds].reshape(-1), minlength=self._channels)
        return counted.astype(np.int64)
