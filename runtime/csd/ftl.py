"""The flash translation layer: from (sequence, layer, head, K or V, group) to a physical page."""

import numpy as np

from runtime.csd.address import FIRST_CHANNEL_PAGE, KEY_PAGE, VALUE_PAGE, AddressLayout
from runtime.csd.block_share import BlockShare
from runtime.csd.nand import NandArray
from runtime.csd.page_log import PageLog
from runtime.csd.stripe import Stripe
from runtime.csd.task import Task
from runtime.csd.traffic import Traffic

KEY, VALUE = KEY_PAGE, VALUE_PAGE
"""The two sides of a table of token pages, and their values in the channel field of an address."""


class Ftl:
    """Two mappings over one log of pages: token pages of K and V, and channel pages of K.

    Every stream (a sequence, where the flash is large enough) writes into blocks of its own, pages of both kinds as they
    come. Reclaiming a sequence, or all layers one after the other, therefore frees all of its blocks; reclaiming
    one layer frees those that hold nothing else.

    Attributes:
        num_groups: int64 ``[num_layers, batch]``, groups of tokens that went to flash.
        num_channel_groups: int64 ``[num_layers, batch]``, channel groups that went to flash.
        first_group: int64 ``[num_layers, batch]``, the oldest group that is still there.
        addresses: How pages are named in their spare areas.
        share: The blocks that the task reserved and holds.
    """

    def __init__(self, nand: NandArray, task: Task, stripe: Stripe, share: BlockShare) -> None:
        self.num_groups = np.zeros((task.num_layers, task.batch_size), np.int64)
        self.num_channel_groups = np.zeros_like(self.num_groups)
        self.first_group = np.zeros_like(self.num_groups)
        self.addresses = AddressLayout.of(task)
        self.share = share
        self._nand = nand
        self._task = task
        self._stripe = stripe
        self._log = PageLog(nand, share, stripe.num_streams)
        self._tables: dict[int, np.ndarray] = {}
        self._channel_tables: dict[int, np.ndarray] = {}

    def table(self, layer: int) -> np.ndarray:
        """Returns a layer's mapping table of token pages.

        Returns:
            int64 ``[rows, kv_heads, 2, groups]`` of page numbers, K before V, -1 where nothing is mapped.
        """
        if layer not in self._tables:
            task = self._task
            shape = (task.rows(layer), task.kv_heads(layer), 2, task.groups_per_sequence)
            self._tables[layer] = np.full(shape, -1, np.int64)
        return self._tables[layer]

    def channel_table(self, layer: int) -> np.ndarray:
        """Returns a layer's mapping table of channel pages.

        Returns:
            int64 ``[rows, kv_heads, channel_pages, channel_groups]`` of page numbers, -1 where nothing is mapped;
            empty where the layer keeps K by token only.
        """
        if layer not in self._channel_tables:
            task = self._task
            shape = (
                task.rows(layer),
                task.kv_heads(layer),
                task.channel_pages if task.keeps_channels(layer) else 0,
                task.channel_groups_per_sequence,
            )
            self._channel_tables[layer] = np.full(shape, -1, np.int64)
        return self._channel_tables[layer]

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
        units = self._stripe.units(rows, groups, self._task.kv_heads(layer))
        addresses = self._token_addresses(layer, rows, groups)
        streams, pages = self._stripe.streams(rows), data.reshape(units.size, -1)
        num_lanes = units.size // len(units) if (rows == rows[0]).all() else 1
        ppns = self._log.program(streams, units, pages, addresses, traffic, num_lanes)
        self.table(layer)[rows, :, :, groups] = ppns
        np.add.at(self.num_groups[layer], rows, 1)

    def append_channels(self, layer: int, row: int, first: int, data: np.ndarray, traffic: Traffic) -> None:
        """Programs channel groups ``first``, ``first + 1``, ... of a sequence and maps them.

        Args:
            layer: Layer of the groups.
            row: Their sequence.
            first: The first one, ``num_channel_groups`` of the sequence at least.
            data: uint8 ``[n, kv_heads, channel_pages, at most page_bytes]``.
            traffic: Counters of the running command.

        Raises:
            CapacityError: No erased block is left where one is needed; nothing was written.
        """
        groups = first + np.arange(len(data))
        rows = np.full(len(data), row)
        units = self._stripe.channel_units(rows, groups, self._task.kv_heads(layer))
        addresses = self._channel_addresses(layer, rows, groups)
        streams, pages = self._stripe.streams(rows), data.reshape(units.size, -1)
        num_lanes = units.size // max(1, len(units))
        ppns = self._log.program(streams, units, pages, addresses, traffic, num_lanes)
        self.channel_table(layer)[rows, :, :, groups] = ppns
        self.num_channel_groups[layer, row] = first + len(data)

    def read(self, layer: int, row: int, first: int, last: int, traffic: Traffic) -> np.ndarray:
        """Reads groups ``first`` to ``last`` (exclusive) of a sequence, checksums verified.

        Returns:
            uint8 ``[kv_heads, 2, last - first, group_tokens, token_bytes]``.
        """
        ppns = self.table(layer)[row, :, :, first:last]
        traffic.pages_read += self._nand.geometry.pages_by_channel(ppns)
        return self._groups(ppns)

    def read_back(
        self, layer: int, row: int, side: int, first: int, last: int, traffic: Traffic
    ) -> np.ndarray:
        """Reads K or V of groups for the drive's own use, in the background, checksums verified.

        Returns:
            uint8 ``[kv_heads, last - first, group_tokens, token_bytes]``.
        """
        ppns = self.table(layer)[row, :, side, first:last]
        traffic.background_reads += self._nand.geometry.pages_by_channel(ppns)
        return self._groups(ppns)

    def truncate(self, layer: int, row: int, num_groups: int, traffic: Traffic) -> None:
        """Drops the groups of a sequence from ``num_groups`` on, and the channel groups that are whole no more."""
        task = self._task
        self._drop(self.table(layer)[row, :, :, num_groups:], row, traffic)
        self.num_groups[layer, row] = min(num_groups, int(self.num_groups[layer, row]))
        self.first_group[layer, row] = min(num_groups, int(self.first_group[layer, row]))
        if task.keeps_channels(layer):
            whole = num_groups * task.group_tokens // task.channel_tokens
            self._drop(self.channel_table(layer)[row, :, :, whole:], row, traffic)
            self.num_channel_groups[layer, row] = min(whole, int(self.num_channel_groups[layer, row]))

    def drop_front(self, layer: int, row: int, tokens: int, traffic: Traffic) -> None:
        """Drops the pages of a sequence that hold none but its first ``tokens`` tokens."""
        task = self._task
        groups = min(tokens // task.group_tokens, int(self.num_groups[layer, row]))
        self._drop(self.table(layer)[row, :, :, :groups], row, traffic)
        self.first_group[layer, row] = max(groups, int(self.first_group[layer, row]))
        if task.keeps_channels(layer):
            self._drop(self.channel_table(layer)[row, :, :, : tokens // task.channel_tokens], row, traffic)

    @property
    def num_valid(self) -> int:
        """Pages that are mapped."""
        return self._log.num_valid

    def mapped(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the page numbers of everything that is mapped, int64 ``[n]``, and their addresses, uint64 ``[n]``."""
        ppns, addresses = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for tables, address in (
            (self._tables, self._token_addresses),
            (self._channel_tables, self._channel_addresses),
        ):
            for layer, table in tables.items():
                rows, groups = np.indices((table.shape[0], table.shape[3]))
                named = address(layer, rows.reshape(-1), groups.reshape(-1))
                named = np.moveaxis(named.reshape(*rows.shape, *table.shape[1:3]), 1, -1)
                ppns.append(table[table >= 0])
                addresses.append(named[table >= 0])
        return np.concatenate(ppns), np.concatenate(addresses)

    def _token_addresses(self, layer: int, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Returns the addresses of token pages, uint64 ``[n, kv_heads, 2]``."""
        heads, sides = np.arange(self._task.kv_heads(layer))[:, None], np.array([KEY, VALUE])
        number = self._task.number
        return self.addresses.pack(number, rows[:, None, None], layer, groups[:, None, None], heads, sides)

    def _channel_addresses(self, layer: int, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Returns the addresses of channel pages, uint64 ``[n, kv_heads, channel_pages]``."""
        heads = np.arange(self._task.kv_heads(layer))[:, None]
        pages = FIRST_CHANNEL_PAGE + np.arange(self.channel_table(layer).shape[2])
        number = self._task.number
        return self.addresses.pack(number, rows[:, None, None], layer, groups[:, None, None], heads, pages)

    def _groups(self, ppns: np.ndarray) -> np.ndarray:
        """Returns the tokens of token pages, uint8 ``[..., group_tokens, token_bytes]``."""
        task = self._task
        data = self._nand.read(ppns.reshape(-1))[:, : task.group_tokens * task.token_bytes]
        return data.reshape(*ppns.shape, task.group_tokens, task.token_bytes)

    def _drop(self, entries: np.ndarray, row: int, traffic: Traffic) -> None:
        """Unmaps a part of a table and erases the blocks that this empties."""
        ppns = entries[entries >= 0]
        if ppns.size:
            entries[:] = -1
            self._log.invalidate(int(self._stripe.streams(np.array([row]))[0]), ppns, traffic)
