"""The pages of one table that hold a range of tokens of each of some sequences."""

from dataclasses import dataclass

import numpy as np

from runtime.csd.store import KvStore


@dataclass(frozen=True, eq=False)
class PageReach:
    """Pages in flash, numbered from 0: sequence by sequence, then head, then K before V or channels, then group.

    Attributes:
        table: A layer's pages, int64 ``[rows, kv_heads, lanes, groups]``.
        rows: Sequences, int64 ``[n]``.
        first: First group of each, int64 ``[n]``.
        last: The one behind the last one, int64 ``[n]``.
        group_tokens: Tokens of a group.
    """

    table: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    last: np.ndarray
    group_tokens: int

    @classmethod
    def by_token(
        cls, store: KvStore, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> "PageReach":
        """Returns the token pages of tokens ``first`` to ``last`` (exclusive) of sequences, each int64 ``[n]``."""
        size, stored = store.task.group_tokens, store.ftl.num_groups[layer, rows]
        return cls(store.ftl.table(layer), rows, *_groups(size, first, last, stored), size)

    @classmethod
    def by_channel(
        cls, store: KvStore, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> "PageReach":
        """Returns the channel pages of tokens ``first`` to ``last`` (exclusive) of sequences, each int64 ``[n]``."""
        size, stored = store.task.channel_tokens, store.ftl.num_channel_groups[layer, rows]
        return cls(store.ftl.channel_table(layer), rows, *_groups(size, first, last, stored), size)

    @property
    def num_pages(self) -> int:
        """How many there are."""
        return self._lanes * int((self.last - self.first).sum())

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Returns the page numbers at positions, both int64 ``[m]``."""
        counts = self.last - self.first
        ends = np.cumsum(counts * self._lanes)
        index = np.searchsorted(ends, positions, side="right")
        lane, group = np.divmod(positions - (ends - counts * self._lanes)[index], counts[index])
        head, inner = np.divmod(lane, self.table.shape[2])
        return self.table[self.rows[index], head, inner, self.first[index] + group]

    def find(self, ppns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns those of some pages, int64 ``[m]``, that are in reach, with sequence and first token of each."""
        table = self.table[self.rows]
        group = np.arange(table.shape[-1])
        reached = (group >= self.first[:, None]) & (group < self.last[:, None])
        found = np.nonzero(np.isin(table, ppns) & reached[:, None, None, :])
        return table[found], self.rows[found[0]], found[3] * self.group_tokens

    @property
    def _lanes(self) -> int:
        """Pages of a group."""
        return self.table.shape[1] * self.table.shape[2]


def _groups(
    size: int, first: np.ndarray, last: np.ndarray, stored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the groups of ``size`` tokens that hold tokens ``first`` to ``last`` and are among those stored."""
    end = np.clip(-(-last // size), 0, stored)
    return np.clip(first // size, 0, end), end
