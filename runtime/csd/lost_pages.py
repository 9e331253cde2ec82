"""Pages that a read could not correct, and the commands that meet them."""

import numpy as np

from runtime.csd.errors import LostTokens, MediaError
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.store import KvStore

_SHOWN = 3


class LostPages:
    """Loses pages as the plan of faults has it, and keeps commands from using them.

    A page is lost for real: one of its stored bits is flipped. Only pages that were lost are held against their checksums
    here, since doing so with all pages would cost more than the attention and find nothing else. Blocks of lost pages are
    retired once they hold nothing valid, so a page number never stands for another page later.
    """

    def __init__(self, nand: NandArray, free: FreeBlocks) -> None:
        self._nand = nand
        self._free = free
        self._ppns = np.zeros(0, np.int64)

    def before_read(
        self, store: KvStore, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> None:
        """Draws what a read of tokens loses; to be called before the command changes anything.

        Args:
            store: The cache that is read.
            layer: Layer.
            rows: Sequences, int64 ``[n]``.
            first: The first token of each, int64 ``[n]``.
            last: The one behind the last one, int64 ``[n]``; tokens that are not in flash are left aside.

        Raises:
            MediaError: The read meets a page that is lost.
        """
        if not self._can_meet_one:
            return
        if self._nand.faults.faults.uncorrectable_per_page_read:
            self._draw(store, layer, rows, *_groups(store, layer, rows, first, last))
        self._check(store, layer, rows, first, last)

    def before_append(self, store: KvStore, layer: int, rows: np.ndarray, start: np.ndarray) -> None:
        """Draws what it loses to cut sequences, int64 ``[n]``, back to ``start`` tokens, int64 ``[n]``.

        A cut inside a page reads that page. Nothing is appended behind a page that is lost, even where the cut leaves it
        aside: what a drive derives from a sequence needs all of it.

        Raises:
            MediaError: What would be kept holds a page that is lost.
        """
        if not self._can_meet_one:
            return
        cut = start < store.lengths(layer)[rows]
        partial = start - start % store.task.group_tokens
        self.before_read(store, layer, rows[cut], partial[cut], start[cut])
        self._check(store, layer, rows, np.zeros_like(start), start)

    @property
    def _can_meet_one(self) -> bool:
        """Whether a page is lost, or may be; most drives never fail, and their commands spend nothing on it."""
        return bool(self._ppns.size or self._nand.faults.faults.uncorrectable_per_page_read)

    def _check(
        self, store: KvStore, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> None:
        """Raises the error for what is lost of these tokens, if anything is; arguments as in :meth:`before_read`."""
        if not self._ppns.size:
            return
        begin, end = _groups(store, layer, rows, first, last)
        table = store.ftl.table(layer)[rows]
        group = np.arange(table.shape[-1])
        reached = (group >= begin[:, None]) & (group < end[:, None])
        suspects = np.nonzero(np.isin(table, self._ppns) & reached[:, None, None, :])
        failing = self._nand.verify(table[suspects])
        if failing.size:
            hit = np.isin(table[suspects], failing)
            places = sorted(set(zip(rows[suspects[0][hit]].tolist(), suspects[3][hit].tolist(), strict=True)))
            raise _media_error(layer, places, store.task.group_tokens, len(failing))

    def _draw(
        self, store: KvStore, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> None:
        """Loses pages of the groups ``first`` to ``last`` (exclusive) of sequences, each int64 ``[n]``."""
        table = store.ftl.table(layer)
        ends = np.cumsum((last - first) * table.shape[1] * 2)
        chosen = self._nand.faults.uncorrectable(int(ends[-1]) if len(ends) else 0)
        if not chosen.size:
            return
        index = np.searchsorted(ends, chosen, side="right")
        count = (last - first)[index]
        lane, group = np.divmod(chosen - (ends[index] - count * table.shape[1] * 2), count)
        ppns = table[rows[index], lane // 2, lane % 2, first[index] + group]
        fresh = ppns[~np.isin(ppns, self._ppns)]
        bits = self._nand.faults.bits(len(fresh), self._nand.geometry.page_bytes)
        for ppn, bit in zip(fresh.tolist(), bits.tolist(), strict=True):
            self._nand.flip_bit(ppn, bit)
        self._ppns = np.concatenate([self._ppns, fresh])
        self._free.condemn(fresh // self._nand.geometry.pages_per_block)
        self._nand.uncorrectable_pages += len(fresh)


def _groups(
    store: KvStore, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the groups in flash that hold tokens ``first`` to ``last``: the first one, and the one behind the last."""
    size = store.task.group_tokens
    end = np.clip(-(-last // size), 0, store.ftl.num_groups[layer, rows])
    return np.clip(first // size, 0, end), end


def _media_error(layer: int, places: list[tuple[int, int]], group_tokens: int, num_pages: int) -> MediaError:
    """Returns the error for groups ``(row, group)``, ascending; those that follow one another become one range."""
    lost: list[LostTokens] = []
    for row, group in places:
        first, last = group * group_tokens, (group + 1) * group_tokens
        if lost and lost[-1].row == row and lost[-1].last_token == first:
            first = lost.pop().first_token
        lost.append(LostTokens(layer, row, first, last))
    shown = "; ".join(map(str, lost[:_SHOWN])) + (
        f"; {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    )
    pages = "1 page" if num_pages == 1 else f"{num_pages} pages"
    return MediaError(
        f"{pages} cannot be corrected any more, which loses {shown}; write these sequences again from their first lost "
        "token on, or reclaim them",
        tuple(lost),
    )
