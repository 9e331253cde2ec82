"""Append-only allocation: pages are programmed behind one another, and blocks are freed whole."""

import numpy as np

from runtime.csd.block_share import BlockShare
from runtime.csd.nand import NandArray
from runtime.csd.open_blocks import OpenBlocks
from runtime.csd.program_failures import PlacedPages, place_pages
from runtime.csd.traffic import Traffic


class PageLog:
    """The blocks of one task.

    Every stream has one open block for each unit that it has reached. When the last valid page of a block goes, the
    block is erased; a valid page is never copied. A block that was condemned takes no more pages, and is retired then.
    """

    def __init__(self, nand: NandArray, share: BlockShare, num_streams: int) -> None:
        self._nand = nand
        self._share = share
        self._valid = np.zeros(nand.geometry.num_blocks, np.int32)
        self._open = OpenBlocks(nand.geometry, share, num_streams)

    def program(
        self,
        streams: np.ndarray,
        units: np.ndarray,
        pages: np.ndarray,
        addresses: np.ndarray,
        traffic: Traffic,
        num_lanes: int = 1,
    ) -> np.ndarray:
        """Programs pages, each behind the last one of its stream in its unit.

        Args:
            streams: int64 ``[n]``.
            units: int64 ``[n, ...]``.
            pages: uint8 ``[units.size, at most page_bytes]``, padded with zeros.
            addresses: uint64 in the shape of ``units``, what each page holds.
            traffic: Counters of the running command.
            num_lanes: See :meth:`NandArray.program`.

        Returns:
            Page numbers, int64 in the shape of ``units``.

        Raises:
            CapacityError: No erased block is left where one is needed; nothing was written.
        """
        geometry = self._nand.geometry
        if pages.shape[1] < geometry.page_bytes:
            pages = np.pad(pages, ((0, 0), (0, geometry.page_bytes - pages.shape[1])))
        self._nand.reserve(len(pages))
        of_stream = streams.reshape(-1, *[1] * (units.ndim - 1)) * geometry.num_units
        if (condemned := self._share.condemned).size:
            self._open.close(condemned)
        placed = place_pages(self._nand, self._share, self._open, (of_stream + units).reshape(-1))
        self._program(placed, pages, addresses.reshape(-1), traffic, num_lanes)
        blocks, counts = np.unique(placed.ppns // geometry.pages_per_block, return_counts=True)
        self._valid[blocks] += counts.astype(np.int32)
        bad = placed.spoiled // geometry.pages_per_block
        self._erase(bad[self._valid[bad] == 0], traffic)
        return placed.ppns.reshape(units.shape)

    def invalidate(self, stream: int, ppns: np.ndarray, traffic: Traffic) -> None:
        """Drops valid pages ``[n]`` of a stream and erases the blocks that this empties."""
        blocks, counts = np.unique(ppns // self._nand.geometry.pages_per_block, return_counts=True)
        self._valid[blocks] -= counts.astype(np.int32)
        dead = blocks[self._valid[blocks] == 0]
        self._open.close(dead, stream)
        self._erase(dead, traffic)

    @property
    def num_valid(self) -> int:
        """Valid pages."""
        return int(self._valid.sum(dtype=np.int64))

    def _program(
        self, placed: PlacedPages, pages: np.ndarray, addresses: np.ndarray, traffic: Traffic, num_lanes: int
    ) -> None:
        """Programs pages ``[n, page_bytes]`` with their addresses, and in vain those whose programs fail."""
        ppns = placed.ppns
        if placed.spoiled.size:
            ppns = np.concatenate([placed.ppns, placed.spoiled])
            order = np.argsort(ppns)
            meant = np.concatenate([np.arange(len(pages)), placed.tried])[order]
            ppns, pages, addresses = ppns[order], pages[meant], addresses[meant]
            num_lanes = 1
        self._nand.program(ppns, pages, addresses, num_lanes)
        self._nand.program_failures += len(placed.spoiled)
        traffic.pages_programmed += self._nand.geometry.pages_by_channel(ppns)

    def _erase(self, blocks: np.ndarray, traffic: Traffic) -> None:
        """Erases blocks ``[n]`` and gives them back."""
        self._nand.erase(blocks)
        for block in blocks.tolist():
            self._share.give(block, int(self._nand.wear[block]))
        traffic.blocks_erased += self._nand.geometry.blocks_by_channel(blocks)
