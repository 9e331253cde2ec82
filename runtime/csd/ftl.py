"""The flash translation layer: from (sequence, layer, head, K or V, group) to a physical page."""

import numpy as np

from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.stripe import Stripe
from runtime.csd.task import Task
from runtime.csd.traffic import Traffic


class Ftl:
    """A token-indexed mapping with append-only allocation; blocks are freed whole and never copied.

    Every stream (a sequence, where the flash is large enough) writes into blocks of its own, one open block
    for each unit it has reached. When the last valid page of a block goes, the block is erased. Reclaiming a
    sequence, or all layers one after the other, therefore frees all of its blocks; reclaiming one layer frees
    those that hold nothing else.

    Attributes:
        num_groups: int64 ``[num_layers, batch]``, groups that are in flash.
    """

    def __init__(self, nand: NandArray, free: FreeBlocks, task: Task) -> None:
        self.num_groups = np.zeros((task.num_layers, task.batch_size), np.int64)
        self._nand = nand
        self._free = free
        self._task = task
        self._stripe = Stripe(nand.geometry, task)
        self._tables: dict[int, np.ndarray] = {}
        self._valid = np.zeros(nand.geometry.num_blocks, np.int32)
        streams = self._stripe.num_streams * nand.geometry.num_units
        self._open_block = np.full(streams, -1, np.int64)
        self._open_fill = np.full(streams, nand.geometry.pages_per_block, np.int64)

    def table(self, layer: int) -> np.ndarray:
        """Returns a layer's mapping table.

        Returns:
            int64 ``[rows, kv_heads, 2, groups]`` of page numbers, K before V, -1 where nothing is mapped.
        """
        if layer not in self._tables:
            task = self._task
            shape = (task.rows(layer), task.kv_heads(layer), 2, task.groups_per_sequence)
            self._tables[layer] = np.full(shape, -1, np.int64)
        return self._tables[layer]

    def append(
        self, layer: int, rows: np.ndarray, groups: np.ndarray, data: np.ndarray, traffic: Traffic
    ) -> None:
        """Programs full groups, the heads of a group together, and maps them.

        Args:
            layer: Layer of the groups.
            rows: Sequence of each, int64 ``[n]``.
            groups: Group of each, int64 ``[n]``; for one sequence ascending from its ``num_groups``.
            data: uint8 ``[n, kv_heads, 2, group_tokens, token_bytes]``.
            traffic: Counters of the running command.

        Raises:
            CapacityError: No erased block is left where one is needed; nothing was written.
        """
        if len(rows) == 0:
            return
        page_bytes = self._nand.geometry.page_bytes
        flat = data.reshape(-1, self._task.group_tokens * self._task.token_bytes)
        if flat.shape[1] < page_bytes:
            flat = np.pad(flat, ((0, 0), (0, page_bytes - flat.shape[1])))
        ppns = self._allocate(rows, self._stripe.units(rows, groups, self._task.kv_heads(layer)))
        self._nand.program(ppns.reshape(-1), flat)
        self.table(layer)[rows, :, :, groups] = ppns
        np.add.at(self.num_groups[layer], rows, 1)
        blocks, counts = np.unique(ppns // self._nand.geometry.pages_per_block, return_counts=True)
        self._valid[blocks] += counts.astype(np.int32)
        traffic.pages_programmed += self._nand.geometry.pages_by_channel(ppns)

    def read(self, layer: int, row: int, first: int, last: int, traffic: Traffic) -> np.ndarray:
        """Reads groups ``first`` to ``last`` (exclusive) of a sequence, checksums verified.

        Returns:
            uint8 ``[kv_heads, 2, last - first, group_tokens, token_bytes]``.
        """
        task = self._task
        ppns = self.table(layer)[row, :, :, first:last]
        pages = self._nand.read(ppns.reshape(-1))
        traffic.pages_read += self._nand.geometry.pages_by_channel(ppns)
        data = pages[:, : task.group_tokens * task.token_bytes]
        return data.reshape(*ppns.shape, task.group_tokens, task.token_bytes)

    def truncate(self, layer: int, row: int, num_groups: int, traffic: Traffic) -> None:
        """Drops the groups of a sequence from ``num_groups`` on and erases the blocks that this empties."""
        stored = int(self.num_groups[layer, row])
        if num_groups >= stored:
            return
        mapped = self.table(layer)[row, :, :, num_groups:stored]
        blocks, counts = np.unique(mapped // self._nand.geometry.pages_per_block, return_counts=True)
        mapped[:] = -1
        self.num_groups[layer, row] = num_groups
        self._valid[blocks] -= counts.astype(np.int32)
        dead = blocks[self._valid[blocks] == 0]
        if dead.size:
            self._erase(row, dead)
            traffic.blocks_erased += self._nand.geometry.blocks_by_channel(dead)

    def valid_pages(self) -> np.ndarray:
        """Returns the page numbers of everything that is mapped, int64 ``[n]``."""
        parts = [table[table >= 0] for table in self._tables.values()]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def _allocate(self, rows: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Returns the next page of each sequence's open block in each unit, opening blocks as they fill.

        Args:
            rows: int64 ``[n]``.
            units: int64 ``[n, kv_heads, 2]``.

        Returns:
            Page numbers, int64 ``[n, kv_heads, 2]``.
        """
        geometry = self._nand.geometry
        streams = (self._stripe.streams(rows)[:, None, None] * geometry.num_units + units).reshape(-1)
        order = np.argsort(streams, kind="stable")
        stream = streams[order]
        index = np.arange(len(stream))
        starts = np.concatenate([[True], stream[1:] != stream[:-1]])
        rank = index - np.maximum.accumulate(np.where(starts, index, 0))
        turn, page = np.divmod(self._open_fill[stream] + rank, geometry.pages_per_block)
        block = self._open_block[stream]
        beyond = turn > 0
        if beyond.any():
            opened, inverse = np.unique(np.stack([stream[beyond], turn[beyond]]), axis=1, return_inverse=True)
            block[beyond] = self._free.take(opened[0] % geometry.num_units)[inverse.reshape(-1)]
        ends = np.concatenate([starts[1:], [True]])
        self._open_block[stream[ends]] = block[ends]
        self._open_fill[stream[ends]] = page[ends] + 1
        ppns = np.empty(len(stream), np.int64)
        ppns[order] = block * geometry.pages_per_block + page
        return ppns.reshape(units.shape)

    def _erase(self, row: int, blocks: np.ndarray) -> None:
        """Erases blocks of a sequence and closes those that were open."""
        geometry = self._nand.geometry
        units = np.array([geometry.unit_of(block) for block in blocks.tolist()])
        streams = self._stripe.streams(np.array([row])) * geometry.num_units + units
        closed = streams[self._open_block[streams] == blocks]
        self._open_block[closed] = -1
        self._open_fill[closed] = geometry.pages_per_block
        self._nand.erase(blocks)
        for block in blocks.tolist():
            self._free.give(block, int(self._nand.wear[block]))
