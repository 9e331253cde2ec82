"""Which unit of the array a group goes to."""

from collections import Counter

import numpy as np

from runtime.csd.block_share import FlashRoom
from runtime.csd.errors import CapacityError
from runtime.csd.geometry import Geometry
from runtime.csd.task import Task


class Stripe:
    """Consecutive groups of a lane go to consecutive units, hence to consecutive channels.

    A lane is one sequence, KV head, and K or V; a channel lane one sequence, KV head and channel page of each group.
    The lanes of K start an odd step apart, spread over all units, and those of V likewise, half of the units further: an odd
    step makes every channel a starting point where their number is a power of two, so that short contexts use all channels
    and dies as evenly as long ones, and so do reads of K or of V alone.

    Sequences write into blocks of their own, so that the end of one frees whole blocks. Where the flash is
    too small for that, as many sequences as needed share a stream of blocks.

    Attributes:
        num_streams: Streams of blocks.

    Raises:
        CapacityError: The cache at its longest does not fit into what the flash has for it.
    """

    def __init__(self, geometry: Geometry, task: Task, room: FlashRoom | None = None) -> None:
        self._geometry = geometry
        self._task = task
        self._step = _odd_step(geometry.num_units, task.num_lanes // 2)
        self._value_offset = geometry.units_per_channel // 2 * geometry.channels + geometry.channels // 2
        self._channel_step = _odd_step(
            geometry.num_units, task.batch_size * task.num_kv_heads * task.channel_pages
        )
        self.num_streams = self._most_streams(
            room or FlashRoom(np.full(geometry.num_units, geometry.blocks_per_plane), {})
        )

    def units(self, rows: np.ndarray, groups: np.ndarray, heads: int) -> np.ndarray:
        """Returns the unit of each token page.

        Args:
            rows: Sequences, int64 ``[n]``.
            groups: Group of each, int64 ``[n]``.
            heads: KV heads of the layer.

        Returns:
            int64 ``[n, kv_heads, 2]``.
        """
        keys = self._spread(rows, groups, (heads, 1), self._step)
        return (keys + np.array([0, self._value_offset])) % self._geometry.num_units

    def channel_units(self, rows: np.ndarray, groups: np.ndarray, heads: int) -> np.ndarray:
        """Returns the unit of each channel page.

        Args:
            rows: Sequences, int64 ``[n]``.
            groups: Channel group of each, int64 ``[n]``.
            heads: KV heads of the layer.

        Returns:
            int64 ``[n, kv_heads, channel_pages]``.
        """
        return self._spread(rows, groups, (heads, self._task.channel_pages), self._channel_step)

    def streams(self, rows: np.ndarray) -> np.ndarray:
        """Returns which blocks sequences write to, int64 ``[n]``: those of one stream share theirs."""
        return rows * self.num_streams // self._task.batch_size

    def blocks_needed(self, num_streams: int | None = None) -> np.ndarray:
        """Returns the blocks that sequences of the longest length need, int64 ``[num_units]``.

        Args:
            num_streams: Streams that they share; None: :attr:`num_streams`.
        """
        num_streams = num_streams or self.num_streams
        task = self._task
        pages = np.zeros((num_streams, self._geometry.num_units), np.int64)
        layers = range(task.num_layers)
        shapes = Counter((task.rows(at), task.kv_heads(at), task.keeps_channels(at)) for at in layers)
        for (num_rows, heads, has_channels), num_layers in shapes.items():
            streams = np.arange(num_rows) * num_streams // task.batch_size
            np.add.at(pages, streams, num_layers * self._pages_by_unit(num_rows, heads, has_channels))
        return (-(-pages // self._geometry.pages_per_block)).sum(axis=0)

    def _spread(self, rows: np.ndarray, groups: np.ndarray, lanes: tuple[int, int], step: int) -> np.ndarray:
        """Returns the unit of each lane's page, int64 ``[n, *lanes]``."""
        per_row = lanes[0] * lanes[1]
        lane = rows[:, None, None] * per_row + np.arange(per_row).reshape(lanes)
        return (lane * step + groups[:, None, None]) % self._geometry.num_units

    def _pages_by_unit(self, num_rows: int, heads: int, has_channels: bool) -> np.ndarray:
        """Returns a layer's pages of each sequence in each unit at its longest length, int64 ``[rows, units]``."""
        task = self._task
        rows = np.arange(num_rows)
        first = np.zeros_like(rows)
        pages = self._count_by_unit(self.units(rows, first, heads), task.groups_per_sequence)
        if has_channels:
            starts = self.channel_units(rows, first, heads)
            pages += self._count_by_unit(starts, task.channel_groups_per_sequence)
        return pages

    def _count_by_unit(self, starts: np.ndarray, num_groups: int) -> np.ndarray:
        """Returns how many pages of lanes of ``num_groups`` each unit gets, int64 ``[rows, units]``.

        Args:
            starts: First unit of each lane, int64 ``[rows, ...]``.
            num_groups: Pages of a lane, on consecutive units.
        """
        num_units = self._geometry.num_units
        starts = starts.reshape(len(starts), -1)
        turns, rest = divmod(num_groups, num_units)
        edges = np.zeros((len(starts), 2 * num_units + 1), np.int64)
        rows = np.arange(len(starts))[:, None]
        np.add.at(edges, (rows, starts), 1)
        np.add.at(edges, (rows, starts + rest), -1)
        unrolled = np.cumsum(edges, axis=1)
        extra = unrolled[:, :num_units] + unrolled[:, num_units : 2 * num_units]
        return turns * starts.shape[1] + extra

    def _most_streams(self, room: FlashRoom) -> int:
        """Returns the largest number of streams, halved from the batch, with which the whole cache fits.

        Raises:
            CapacityError: It does not fit even with all sequences sharing blocks.
        """
        geometry, task = self._geometry, self._task
        block_bytes = geometry.pages_per_block * geometry.page_bytes
        num_streams = task.batch_size
        while ((needed := self.blocks_needed(num_streams)) > room.blocks).any():
            if num_streams == 1:
                others = ", ".join(f"task {other} has {n * block_bytes}" for other, n in room.others.items())
                raise CapacityError(
                    f"KV cache of {task.batch_size} sequences x {task.max_len} tokens has {task.kv_bytes} bytes and "
                    f"takes {int(needed.max()) * geometry.num_units * block_bytes} bytes in whole blocks of all planes; "
                    f"the flash has {geometry.capacity_bytes} bytes"
                    + (f", of which {others}. Release a task, lower" if others else ". Lower")
                    + " the batch or the length, or use more or larger drives"
                )
            num_streams = (num_streams + 1) // 2
        return num_streams


def _odd_step(num_units: int, num_lanes: int) -> int:
    """Returns how many units apart lanes start."""
    return max(1, num_units // max(1, num_lanes)) | 1
