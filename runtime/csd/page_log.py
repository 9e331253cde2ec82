"""Append-only allocation: pages are programmed behind one another, and blocks are freed whole."""

import numpy as np

from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.traffic import Traffic


class PageLog:
    """The blocks of one task.

    Every stream has one open block for each unit that it has reached. When the last valid page of a block goes, the
    block is erased; a valid page is never copied.
    """

    def __init__(self, nand: NandArray, free: FreeBlocks, num_streams: int) -> None:
        self._nand = nand
        self._free = free
        self._valid = np.zeros(nand.geometry.num_blocks, np.int32)
        places = num_streams * nand.geometry.num_units
        self._open_block = np.full(places, -1, np.int64)
        self._open_fill = np.full(places, nand.geometry.pages_per_block, np.int64)

    def program(
        self, streams: np.ndarray, units: np.ndarray, pages: np.ndarray, traffic: Traffic
    ) -> np.ndarray:
        """Programs pages, each behind the last one of its stream in its unit.

        Args:
            streams: int64 ``[n]``.
            units: int64 ``[n, ...]``.
            pages: uint8 ``[units.size, at most page_bytes]``, padded with zeros.
            traffic: Counters of the running command.

        Returns:
            Page numbers, int64 in the shape of ``units``.

        Raises:
            CapacityError: No erased block is left where one is needed; nothing was written.
        """
        geometry = self._nand.geometry
        if pages.shape[1] < geometry.page_bytes:
            pages = np.pad(pages, ((0, 0), (0, geometry.page_bytes - pages.shape[1])))
        of_stream = streams.reshape(-1, *[1] * (units.ndim - 1)) * geometry.num_units
        ppns = self._allocate((of_stream + units).reshape(-1))
        self._nand.program(ppns, pages)
        blocks, counts = np.unique(ppns // geometry.pages_per_block, return_counts=True)
        self._valid[blocks] += counts.astype(np.int32)
        traffic.pages_programmed += geometry.pages_by_channel(ppns)
        return ppns.reshape(units.shape)

    def invalidate(self, stream: int, ppns: np.ndarray, traffic: Traffic) -> None:
        """Drops valid pages ``[n]`` of a stream and erases the blocks that this empties."""
        geometry = self._nand.geometry
        blocks, counts = np.unique(ppns // geometry.pages_per_block, return_counts=True)
        self._valid[blocks] -= counts.astype(np.int32)
        dead = blocks[self._valid[blocks] == 0]
        if dead.size:
            self._close(stream, dead)
            self._nand.erase(dead)
            for block in dead.tolist():
                self._free.give(block, int(self._nand.wear[block]))
            traffic.blocks_erased += geometry.blocks_by_channel(dead)

    @property
    def num_valid(self) -> int:
        """Valid pages."""
        return int(self._valid.sum(dtype=np.int64))

    def _allocate(self, places: np.ndarray) -> np.ndarray:
        """Returns the next page of each open block, opening blocks as they fill.

        Args:
            places: ``stream * num_units + unit``, int64 ``[n]``.

        Returns:
            Page numbers, int64 ``[n]``.
        """
        geometry = self._nand.geometry
        order = np.argsort(places, kind="stable")
        place = places[order]
        index = np.arange(len(place))
        starts = np.concatenate([[True], place[1:] != place[:-1]])
        rank = index - np.maximum.accumulate(np.where(starts, index, 0))
        turn, page = np.divmod(self._open_fill[place] + rank, geometry.pages_per_block)
        block = self._open_block[place]
        beyond = turn > 0
        if beyond.any():
            opened, inverse = np.unique(np.stack([place[beyond], turn[beyond]]), axis=1, return_inverse=True)
            block[beyond] = self._free.take(opened[0] % geometry.num_units)[inverse.reshape(-1)]
        ends = np.concatenate([starts[1:], [True]])
        self._open_block[place[ends]] = block[ends]
        self._open_fill[place[ends]] = page[ends] + 1
        ppns = np.empty(len(place), np.int64)
        ppns[order] = block * geometry.pages_per_block + page
        return ppns

    def _close(self, stream: int, blocks: np.ndarray) -> None:
        """Closes those blocks that a stream has open."""
        geometry = self._nand.geometry
        units = np.array([geometry.unit_of(block) for block in blocks.tolist()])
        places = stream * geometry.num_units + units
        closed = places[self._open_block[places] == blocks]
        self._open_block[closed] = -1
        self._open_fill[closed] = geometry.pages_per_block
