"""Which pages runs of (sequence, KV head) pairs attend to, cut into pieces that can be staged."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np


def cut_pairs(counts: np.ndarray, begin: int, end: int, most_pages: int | None) -> list[tuple[int, int]]:
    """Cuts a run of pairs into runs of at most ``most_pages`` pages; a pair that has more is a run of its own.

    Args:
        counts: Pages of each pair, int64 ``[pairs]``.
        begin: First pair.
        end: Pair after the last one.
        most_pages: None for no cut.

    Returns:
        (begin, end) of each run.
    """
    if most_pages is None or begin == end:
        return [(begin, end)]
    ends = np.cumsum(counts[begin:end])
    pieces: list[tuple[int, int]] = []
    first, before = 0, 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, before + most_pages, side="right")))
        pieces.append((begin + first, begin + last))
        first, before = last, int(ends[last - 1])
    return pieces


@dataclass(frozen=True, eq=False)
class AttendedPages:
    """The pages in flash that an attention over consecutive groups reads.

    Pairs are numbered sequence-major: ``pair = index * kv_heads + head``.

    Attributes:
        table: int64 ``[rows, kv_heads, lanes, groups]``, page numbers.
        rows: int64 ``[n]``, sequences in the table.
        first_group: int64 ``[n]``, the oldest group that is read.
        last_group: int64 ``[n]``, the group in flash after the newest one.
    """

    table: np.ndarray
    rows: np.ndarray
    first_group: np.ndarray
    last_group: np.ndarray

    def pieces(self, begin: int, end: int, most_pages: int | None) -> list[tuple[int, int]]:
        """Cuts a run of pairs into runs that can be staged; arguments as in :func:`cut_pairs`."""
        return cut_pairs(np.repeat(self.counts, self.table.shape[1]), begin, end, most_pages)

    @property
    def counts(self) -> np.ndarray:
        """Pages of one head of each sequence, int64 ``[n]``."""
        return self.table.shape[2] * np.maximum(self.last_group - self.first_group, 0)

    def of(self, begin: int, end: int) -> np.ndarray:
        """Returns the page numbers of pairs ``begin`` to ``end`` (exclusive), int64 ``[pages]``."""
        heads = self.table.shape[1]
        found = [np.zeros(0, np.int64)]
        for index in range(begin // heads, -(-end // heads)):
            lanes = slice(max(begin - index * heads, 0), min(end - index * heads, heads))
            groups = slice(self.first_group[index], max(self.first_group[index], self.last_group[index]))
            found.append(self.table[self.rows[index], lanes, :, groups].reshape(-1))
        return np.concatenate(found)

    def sets(self, pieces: list[tuple[int, int]]) -> list[Callable[[], np.ndarray]]:
        """Returns what gives the page numbers of each piece."""
        return [partial(self.of, *piece) for piece in pieces]


@dataclass(frozen=True, eq=False)
class CandidatePages:
    """The pages in flash that a sparse attention may read, before it has chosen: in files, all of them are staged.

    Attributes:
        tokens: Those of K and V by token.
        channels: Those of K by channel.
    """

    tokens: AttendedPages
    channels: AttendedPages

    def pieces(self, begin: int, end: int, most_pages: int | None) -> list[tuple[int, int]]:
        """Cuts a run of pairs into runs that can be staged; arguments as in :func:`cut_pairs`."""
        counts = np.repeat(self.tokens.counts + self.channels.counts, self.tokens.table.shape[1])
        return cut_pairs(counts, begin, end, most_pages)

    def of(self, begin: int, end: int) -> np.ndarray:
        """Returns the page numbers of pairs ``begin`` to ``end`` (exclusive), int64 ``[pages]``."""
        return np.concatenate([self.tokens.of(begin, end), self.channels.of(begin, end)])

    def sets(self, pieces: list[tuple[int, int]]) -> list[Callable[[], np.ndarray]]:
        """Returns what gives the page numbers of each piece."""
        return [partial(self.of, *piece) for piece in pieces]
