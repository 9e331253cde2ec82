"""Erased blocks, handed out least worn first; blocks that can no longer be trusted are retired."""

import heapq

import numpy as np

from runtime.csd.errors import CapacityError
from runtime.csd.geometry import Geometry


class FreeBlocks:
    """The erased blocks of every unit.

    Blocks that were never used are counted, not listed, so that a drive of terabytes costs nothing to make. A block is
    retired, which means that it never comes back, when it has reached its rated erases or was condemned.

    Attributes:
        num_retired: Blocks retired so far.
        promised: int64 ``[num_units]``, blocks that tasks reserved and do not hold.
    """

    def __init__(
        self, geometry: Geometry, rated_pe_cycles: int | None = None, worn: np.ndarray | None = None
    ) -> None:
        """Makes all blocks free.

        Args:
            geometry: Shape of the array.
            rated_pe_cycles: Erases after which a block is retired; None: it never is.
            worn: Blocks that come with one erase left, int64 ``[n]``; they are handed out last.
        """
        self.num_retired = 0
        self.promised = np.zeros(geometry.num_units, np.int64)
        self._geometry = geometry
        self._rated_pe_cycles = rated_pe_cycles
        self._next = np.zeros(geometry.num_units, np.int64)
        self._unused = np.full(geometry.num_units, geometry.blocks_per_plane)
        self._erased: list[list[tuple[int, int]]] = [[] for _ in range(geometry.num_units)]
        self._worn = frozenset([] if worn is None else worn.tolist())
        self._condemned: set[int] = set()
        for block in self._worn:
            self._unused[geometry.unit_of(block)] -= 1
            self.give(block, (rated_pe_cycles or 1) - 1)

    @property
    def condemned(self) -> np.ndarray:
        """Blocks that take no more pages and will be retired, int64 ``[n]``."""
        return np.array(sorted(self._condemned), np.int64)

    @property
    def count(self) -> int:
        """Erased blocks in the drive."""
        return int(self._unused.sum()) + sum(len(heap) for heap in self._erased)

    @property
    def erased(self) -> np.ndarray:
        """Erased blocks of each unit, int64 ``[num_units]``."""
        return self._unused + np.array([len(heap) for heap in self._erased], np.int64)

    def take(self, units: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Takes the least worn erased block of each unit named; all or none.

        Args:
            units: int64 ``[n]``, repeats allowed.
            own: int64 ``[num_units]``, how many of the promised blocks are for the caller; None: none of them.

        Returns:
            Block numbers, int64 ``[n]``.

        Raises:
            CapacityError: A unit has too few erased blocks.
        """
        wanted = np.bincount(units, minlength=self._geometry.num_units)
        for unit in np.flatnonzero(wanted).tolist():
            free = int(self._unused[unit]) + len(self._erased[unit])
            others = int(self.promised[unit]) - (0 if own is None else int(own[unit]))
            if wanted[unit] > free - others:
                reserved = f", {others} of them reserved by other tasks" if others else ""
                retired = f", {self.num_retired} blocks of the drive are retired" if self.num_retired else ""
                raise CapacityError(
                    f"flash is full: {int(wanted[unit])} blocks wanted in one plane, {free} erased ones{reserved}{retired}; "
                    "reclaim sequences that are done, or use more or larger drives"
                )
        return np.array([self._take_one(unit) for unit in units.tolist()], np.int64)

    def give(self, block: int, wear: int) -> None:
        """Takes back a block that was erased for the ``wear``-th time, or retires it."""
        if block in self._condemned or (self._rated_pe_cycles is not None and wear >= self._rated_pe_cycles):
            self._condemned.discard(block)
            self.num_retired += 1
        else:
            heapq.heappush(self._erased[self._geometry.unit_of(block)], (wear, block))

    def unit_of(self, block: int) -> int:
        """Returns the unit that a block belongs to."""
        return self._geometry.unit_of(block)

    def condemn(self, blocks: np.ndarray) -> None:
        """Has blocks, int64 ``[n]``, retired when they are given back."""
        self._condemned.update(blocks.tolist())

    def _take_one(self, unit: int) -> int:
        """Returns a block that was never used, else the least worn of the erased ones."""
        if not self._unused[unit]:
            return heapq.heappop(self._erased[unit])[1]
        self._unused[unit] -= 1
        first = self._geometry.first_block(unit)
        while first + int(self._next[unit]) in self._worn:
            self._next[unit] += 1
        self._next[unit] += 1
        return first + int(self._next[unit]) - 1
