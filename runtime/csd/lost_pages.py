"""Pages that a read could not correct, and the commands that meet them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from runtime.csd.errors import DriveError, LostTokens, MediaError
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.page_reach import PageReach
from runtime.csd.sparse import Sparse
from runtime.csd.store import KvStore

_SHOWN = 3


class LostPages:
    """Loses pages as the plan of faults has it, and keeps commands from using them.

    A page is lost for real: one of its stored bits is flipped. Only pages that were lost are held against their checksums
    here, since doing so with all pages would cost more than the attention and find nothing else. Blocks of lost pages are
    retired once they hold nothing valid, so a page number never stands for another page later.

    What a command will read is drawn before it changes anything. A sparse attention decides as it runs, so what it loses
    shows at the next command that reaches the page. Pages that the drive reads for its own use are not drawn.

    Raises:
        DriveError: Pages are to be lost where none has any bytes.
    """

    def __init__(self, nand: NandArray, free: FreeBlocks) -> None:
        chance = nand.faults.faults.uncorrectable_per_page_read
        if chance and not nand.arena.keeps_bytes:
            raise DriveError(
                f"uncorrectable_per_page_read is {chance:g}, and pages without backing have no bits to lose; keep them in "
                "memory or in a file, or set it to 0"
            )
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
        if self._can_meet_one:
            reach = PageReach.by_token(store, layer, rows, first, last)
            self._lose(reach.at(self._nand.faults.uncorrectable(reach.num_pages)))
            self._check(store, layer, [reach])

    def before_attend(
        self,
        store: KvStore,
        layer: int,
        rows: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        sparse: Sparse | None,
    ) -> None:
        """Does so for an attention; a sparse one is refused where any page is lost that it might read.

        Raises:
            MediaError: It is.
        """
        if not self._can_meet_one:
            return
        exact = np.ones(len(rows), bool) if sparse is None else sparse.num_tokens >= last - first
        if not exact.all():
            reached = rows[~exact], first[~exact], last[~exact]
            by_token = PageReach.by_token(store, layer, *reached)
            self._check(store, layer, [by_token, PageReach.by_channel(store, layer, *reached)])
        self.before_read(store, layer, rows[exact], first[exact], last[exact])

    def after_sparse(
        self,
        store: KvStore,
        layer: int,
        rows: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        num_pages: int,
    ) -> None:
        """Loses some of the pages that a sparse attention may have read.

        Args:
            store: The cache that was read.
            layer: Layer.
            rows: Sequences, int64 ``[n]``.
            first: The oldest token of each, int64 ``[n]``.
            last: The one behind the newest one, int64 ``[n]``.
            num_pages: Pages that it read.
        """
        faults = self._nand.faults
        count = len(faults.uncorrectable(num_pages))
        if not count:
            return
        by_token = PageReach.by_token(store, layer, rows, first, last)
        by_channel = PageReach.by_channel(store, layer, rows, first, last)
        chosen = np.unique(faults.below(by_token.num_pages + by_channel.num_pages, count))
        is_token = chosen < by_token.num_pages
        self._lose(by_token.at(chosen[is_token]))
        self._lose(by_channel.at(chosen[~is_token] - by_token.num_pages))

    def before_append(self, store: KvStore, layer: int, rows: np.ndarray, start: np.ndarray) -> None:
        """Draws what it loses to cut sequences, int64 ``[n]``, back to ``start`` tokens, int64 ``[n]``.

        A cut inside a page reads that page. Nothing is appended behind a page that is lost, even where the cut leaves it
        aside: what a drive derives from a sequence needs all of it.

        Raises:
            MediaError: What would be kept holds a page that is lost.
        """
        if self._can_meet_one:
            cut = start < store.lengths(layer)[rows]
            partial = start - start % store.task.group_tokens
            self.before_read(store, layer, rows[cut], partial[cut], start[cut])
            self._check(store, layer, [PageReach.by_token(store, layer, rows, np.zeros_like(start), start)])

    def before_cut(self, store: KvStore, layer: int, row: int, first: int, last: int) -> None:
        """Requires what a drive reads again after it dropped tokens of a sequence: those that stay, ``first`` to ``last``.

        Raises:
            MediaError: A page of them is lost, and the cache keeps something derived from them.
        """
        if store.task.keeps_channels(layer):
            span = np.array([row]), np.array([first]), np.array([last])
            self._check(store, layer, [PageReach.by_token(store, layer, *span)])

    @property
    def _can_meet_one(self) -> bool:
        """Whether a page is lost, or may be; most drives never fail, and their commands spend nothing on it."""
        return bool(self._ppns.size or self._nand.faults.faults.uncorrectable_per_page_read)

    def _check(self, store: KvStore, layer: int, reaches: Sequence[PageReach]) -> None:
        """Requires that no page in reach is lost.

        Raises:
            MediaError: One is.
        """
        if not self._ppns.size:
            return
        num_pages, lost = 0, set[LostTokens]()
        for reach in reaches:
            suspects, rows, first = reach.find(self._ppns)
            failing = np.isin(suspects, self._nand.verify(suspects))
            num_pages += int(failing.sum())
            for row, token in zip(rows[failing].tolist(), first[failing].tolist(), strict=True):
                lost.add(LostTokens(layer, row, token, token + reach.group_tokens, store.task.number))
        if lost:
            raise _media_error(num_pages, sorted(lost))

    def _lose(self, ppns: np.ndarray) -> None:
        """Flips a bit in each of some pages, int64 ``[n]``, each once, and has their blocks retired; -1 is no page."""
        fresh = ppns[(ppns >= 0) & ~np.isin(ppns, self._ppns)]
        bits = self._nand.faults.below(8 * self._nand.geometry.page_bytes, len(fresh))
        for ppn, bit in zip(fresh.tolist(), bits.tolist(), strict=True):
            self._nand.flip_bit(ppn, bit)
        self._ppns = np.concatenate([self._ppns, fresh])
        self._free.condemn(fresh // self._nand.geometry.pages_per_block)
        self._nand.uncorrectable_pages += len(fresh)


def _media_error(num_pages: int, parts: list[LostTokens]) -> MediaError:
    """Returns the error for what is lost, ascending; ranges that touch become one."""
    lost: list[LostTokens] = []
    for part in parts:
        if lost and lost[-1].row == part.row and part.first_token <= lost[-1].last_token:
            last_token = max(lost[-1].last_token, part.last_token)
            lost[-1] = replace(lost[-1], last_token=last_token)
        else:
            lost.append(part)
    shown = "; ".join(map(str, lost[:_SHOWN])) + (
        f"; {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    )
    pages = "1 page" if num_pages == 1 else f"{num_pages} pages"
    return MediaError(
        f"{pages} cannot be corrected any more, which loses {shown}; write these sequences again from their first lost "
        "token on, or reclaim them",
        tuple(lost),
    )
