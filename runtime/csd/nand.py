"""The NAND array: pages that are programmed once, in order, and erased by the block."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cost_models.hardware import FaultSpec
from runtime.csd.arena import PageArena
from runtime.csd.errors import ChecksumError, DriveError
from runtime.csd.fault_plan import FaultPlan
from runtime.csd.geometry import Geometry
from runtime.csd.memory_arena import MemoryArena


class PageView(NamedTuple):
    """What a reader needs to find the bytes of a physical page in this machine's memory.

    The page ``ppn`` is in block ``ppn // pages_per_block``; its frame is ``frames[slot[block], page]``; its
    bytes start at ``chunk_addresses[frame >> shift] + (frame & mask) * page_bytes``.

    Attributes:
        slot: int32 ``[num_blocks]``, row of a block in ``frames``; -1 while the block is erased.
        frames: int32 ``[slots, pages_per_block]``.
        chunk_addresses: int64 ``[chunks]``.
        shift: Base-2 logarithm of the frames per chunk.
    """

    slot: np.ndarray
    frames: np.ndarray
    chunk_addresses: np.ndarray
    shift: int


class NandArray:
    """Flash with real bytes: erase before program, sequential program in a block, wear and checksums.

    Attributes:
        geometry: Shape and numbering of the pages.
        arena: Where their bytes lie.
        next_page: int32 ``[num_blocks]``, the only page of each block that may be programmed now.
        wear: int32 ``[num_blocks]``, erases so far.
        pages_read: Pages read so far, by whatever reader.
        pages_programmed: Pages programmed so far.
        blocks_erased: Blocks erased so far.
        faults: What goes wrong in it; whoever reads and programs asks it.
        uncorrectable_pages: Pages lost so far.
        program_failures: Programs that failed so far.
    """

    def __init__(
        self, geometry: Geometry, faults: FaultPlan | None = None, arena: PageArena | None = None
    ) -> None:
        self.geometry = geometry
        self.faults = faults or FaultPlan(FaultSpec(), "")
        self.uncorrectable_pages = 0
        self.program_failures = 0
        self.next_page = np.zeros(geometry.num_blocks, np.int32)
        self.wear = np.zeros(geometry.num_blocks, np.int32)
        self.pages_read = 0
        self.pages_programmed = 0
        self.blocks_erased = 0
        self.arena: PageArena = MemoryArena(geometry.page_bytes) if arena is None else arena
        self._slot = np.full(geometry.num_blocks, -1, np.int32)
        self._frames = np.zeros((0, geometry.pages_per_block), np.int32)
        self._checksums = np.zeros((0, geometry.pages_per_block), np.uint32)
        self._addresses = np.zeros((0, geometry.pages_per_block), np.uint64)
        self._free_slots: list[int] = []

    def view(self) -> PageView:
        """Returns the tables that lead from a page number to its bytes, where these are in memory.

        They are valid until the next program. Pages in a file are in memory while they are staged.
        """
        return PageView(self._slot, self._frames, self.arena.chunk_addresses, self.arena.shift)

    def staged(self, page_sets: Sequence[Callable[[], np.ndarray]]) -> Iterator[PageView]:
        """Brings one set of pages after the other into memory, and yields tables that lead to them.

        A set is there until the next one is asked for, which is read meanwhile. Threads may do so side by side, as long as
        no page is in two sets at a time. Nothing is moved or called where pages are in memory anyway.

        Args:
            page_sets: Each gives page numbers, int64 ``[n]``.
        """
        view = self.view()

        def frames_of(pages: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
            return lambda: self._locate(pages())[0]

        for _ in self.arena.staged([frames_of(pages) for pages in page_sets]):
            yield view

    def reserve(self, count: int) -> None:
        """Makes room in this machine for ``count`` more pages.

        Raises:
            CapacityError: It has none.
        """
        self.arena.reserve(count)

    def program(self, ppns: np.ndarray, pages: np.ndarray, addresses: np.ndarray, num_lanes: int = 1) -> None:
        """Programs pages; nothing is programmed when one of them breaks a rule.

        Args:
            ppns: int64 ``[n]``; the pages of one block in ascending order.
            pages: uint8 ``[n, page_bytes]``.
            addresses: uint64 ``[n]``, for the spare areas: what each page holds.
            num_lanes: Pages take turns between so many lanes; this machine keeps those of a lane side by side, as they are
                read.

        Raises:
            DriveError: A page is programmed already, or is not the next one of its block.
        """
        blocks, offsets = np.divmod(ppns, self.geometry.pages_per_block)
        self._check_order(blocks, offsets)
        touched, counts = np.unique(blocks, return_counts=True)
        for block in touched[self._slot[touched] < 0].tolist():
            self._slot[block] = self._take_slot()
        slots = self._slot[blocks]
        frames = self.arena.take(len(ppns)).reshape(num_lanes, -1).T.reshape(-1)
        self.arena.write(frames, pages)
        self._frames[slots, offsets] = frames
        kept = pages if self.arena.keeps_bytes else self.arena.read(frames[:1])  # all read alike
        self._checksums[slots, offsets] = [zlib.crc32(page) for page in np.ascontiguousarray(kept)]
        self._addresses[slots, offsets] = addresses
        self.next_page[touched] += counts.astype(np.int32)
        self.pages_programmed += len(ppns)

    def read(self, ppns: np.ndarray) -> np.ndarray:
        """Reads pages and checks them against their checksums.

        Args:
            ppns: int64 ``[n]``.

        Returns:
            uint8 ``[n, page_bytes]``.

        Raises:
            DriveError: A page holds nothing.
            ChecksumError: A page no longer holds what was programmed.
        """
        pages, bad = self._read(ppns)
        self.pages_read += len(ppns)
        if bad.size:
            raise ChecksumError(
                f"{bad.size} of {len(ppns)} pages fail their checksum, the first at "
                f"{self.geometry.address(int(bad[0]))}; write the affected sequences again"
            )
        return pages

    def verify(self, ppns: np.ndarray) -> np.ndarray:
        """Returns the pages, of int64 ``[n]``, that fail their checksum."""
        return np.concatenate([self._read(part)[1] for part in np.array_split(ppns, len(ppns) // 1024 + 1)])

    def addresses(self, ppns: np.ndarray) -> np.ndarray:
        """Returns what the spare areas of pages ``[n]`` say that they hold, uint64 ``[n]``.

        Raises:
            DriveError: A page holds nothing.
        """
        self._locate(ppns)
        blocks, offsets = np.divmod(ppns, self.geometry.pages_per_block)
        return self._addresses[self._slot[blocks], offsets]

    def erase(self, blocks: np.ndarray) -> None:
        """Erases blocks, int64 ``[n]``, and counts the wear."""
        for block in blocks.tolist():
            slot = int(self._slot[block])
            if slot >= 0:
                self.arena.release(self._frames[slot, : self.next_page[block]])
                self._free_slots.append(slot)
        self._slot[blocks] = -1
        self.next_page[blocks] = 0
        self.wear[blocks] += 1
        self.blocks_erased += len(blocks)

    def flip_bit(self, ppn: int, bit: int) -> None:
        """Flips one stored bit of a programmed page, as a charge that leaked would."""
        frames, _ = self._locate(np.array([ppn]))
        pages = self.arena.read(frames)
        pages[0, bit // 8] ^= np.uint8(1 << bit % 8)
        self.arena.write(frames, pages)

    @property
    def stored_bytes(self) -> int:
        """Bytes of pages that this machine stores."""
        return self.arena.num_frames * self.geometry.page_bytes

    def _check_order(self, blocks: np.ndarray, offsets: np.ndarray) -> None:
        """Requires that each block continues at its next page, page by page."""
        order = np.argsort(blocks, kind="stable")
        sorted_blocks = blocks[order]
        index = np.arange(len(blocks))
        starts = np.concatenate([[True], sorted_blocks[1:] != sorted_blocks[:-1]])[: len(blocks)]
        rank = index - np.maximum.accumulate(np.where(starts, index, 0))
        expected = self.next_page[sorted_blocks] + rank
        wrong = np.flatnonzero(offsets[order] != expected)
        if wrong.size == 0:
            return
        first = order[wrong[0]]
        address = self.geometry.address(int(blocks[first] * self.geometry.pages_per_block + offsets[first]))
        if offsets[first] < expected[wrong[0]]:
            raise DriveError(f"{address} is programmed already; erase its block before programming it again")
        raise DriveError(
            f"{address} is out of order; the next page of its block is {int(expected[wrong[0]])}, "
            "and pages of a block are programmed in sequence"
        )

    def _read(self, ppns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pages and the page numbers that fail their checksum."""
        frames, checksums = self._locate(ppns)
        pages = self.arena.read(frames)
        found = np.fromiter((zlib.crc32(page) for page in pages), np.uint32, len(pages))
        return pages, ppns[found != checksums]

    def _locate(self, ppns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns frame and checksum of each page."""
        blocks, offsets = np.divmod(ppns, self.geometry.pages_per_block)
        empty = np.flatnonzero(offsets >= self.next_page[blocks])
        if empty.size:
            address = self.geometry.address(int(ppns[empty[0]]))
            raise DriveError(f"{address} holds nothing; program a page before reading it")
        slots = self._slot[blocks]
        return self._frames[slots, offsets], self._checksums[slots, offsets]

    def _take_slot(self) -> int:
        """Returns a free row of the frame table, which doubles when it is full."""
        if not self._free_slots:
            old = len(self._frames)
            grown = max(16, 2 * old)
            more = (grown - old, self.geometry.pages_per_block)
            self._frames = np.concatenate([self._frames, np.zeros(more, np.int32)])
            self._checksums = np.concatenate([self._checksums, np.zeros(more, np.uint32)])
            self._addresses = np.concatenate([self._addresses, np.zeros(more, np.uint64)])
            self._free_slots = list(range(grown - 1, old - 1, -1))
        return self._free_slots.pop()
