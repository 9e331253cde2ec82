"""Erased blocks, handed out least worn first."""

import heapq

import numpy as np

from runtime.csd.errors import CapacityError
from runtime.csd.geometry import Geometry


class FreeBlocks:
    """The erased blocks of every unit.

    Blocks that were never used are counted, not listed, so that a drive of terabytes costs nothing to make.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._fresh = np.zeros(geometry.num_units, np.int64)
        self._erased: list[list[tuple[int, int]]] = [[] for _ in range(geometry.num_units)]

    @property
    def count(self) -> int:
        """Erased blocks in the drive."""
        return self._geometry.num_blocks - int(self._fresh.sum()) + sum(len(heap) for heap in self._erased)

    def take(self, units: np.ndarray) -> np.ndarray:
        """Takes the least worn erased block of each unit named; all or none.

        Args:
            units: int64 ``[n]``, repeats allowed.

        Returns:
            Block numbers, int64 ``[n]``.

        Raises:
            CapacityError: A unit has too few erased blocks.
        """
        wanted = np.bincount(units, minlength=self._geometry.num_units)
        for unit in np.flatnonzero(wanted).tolist():
            free = self._geometry.blocks_per_plane - int(self._fresh[unit]) + len(self._erased[unit])
            if wanted[unit] > free:
                raise CapacityError(
                    f"flash is full: {int(wanted[unit])} blocks wanted in one plane, {free} erased ones; "
                    "reclaim sequences that are done, or use more or larger drives"
                )
        return np.array([self._take_one(unit) for unit in units.tolist()], np.int64)

    def give(self, block: int, wear: int) -> None:
        """Takes back a block that was erased for the ``wear``-th time."""
        heapq.heappush(self._erased[self._geometry.unit_of(block)], (wear, block))

    def _take_one(self, unit: int) -> int:
        """Returns a block that was never used, else the least worn of the erased ones."""
        if self._fresh[unit] < self._geometry.blocks_per_plane:
            self._fresh[unit] += 1
            return self._geometry.first_block(unit) + int(self._fresh[unit]) - 1
        return heapq.heappop(self._erased[unit])[1]
