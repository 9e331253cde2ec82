"""The blocks of a task: what it reserved when it was configured, and what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runtime.csd.free_blocks import FreeBlocks


@dataclass(frozen=True, eq=False)
class FlashRoom:
    """What the flash has for one task.

    Attributes:
        blocks: int64 ``[num_units]``, blocks of each unit that no other task reserved or holds.
        others: Blocks that each other task reserved or holds, by its number.
    """

    blocks: np.ndarray
    others: Mapping[int, int]


class BlockShare:
    """The blocks that one task reserved in every unit, and those that it holds.

    A reserved block is kept back from other tasks until it is taken. A task may take more than it reserved, such as
    after many rewrites, as long as nobody reserved that.

    Attributes:
        reserved: int64 ``[num_units]``, blocks reserved.
        held: int64 ``[num_units]``, blocks taken and not given back.
    """

    def __init__(self, free: FreeBlocks, reserved: np.ndarray) -> None:
        self.reserved = reserved
        self.held = np.zeros_like(reserved)
        self._free = free
        free.promised += reserved

    @property
    def claim(self) -> np.ndarray:
        """Blocks of each unit that no other task can have, int64 ``[num_units]``."""
        return np.maximum(self.reserved, self.held)

    def take(self, units: np.ndarray) -> np.ndarray:
        """Takes the least worn erased block of each unit named, int64 ``[n]``; all or none.

        Raises:
            CapacityError: A unit has too few erased blocks that are not reserved by others.
        """
        blocks = self._free.take(units, self.claim - self.held)
        self._hold(np.bincount(units, minlength=len(self.held)))
        return blocks

    def give(self, block: int, wear: int) -> None:
        """Gives back a block that was erased for the ``wear``-th time."""
        self._free.give(block, wear)
        self._hold(-np.bincount([self._free.unit_of(block)], minlength=len(self.held)))

    @property
    def condemned(self) -> np.ndarray:
        """Blocks that take no more pages and will be retired, int64 ``[n]``."""
        return self._free.condemned

    def condemn(self, blocks: np.ndarray) -> None:
        """Has blocks, int64 ``[n]``, retired when they are given back."""
        self._free.condemn(blocks)

    def release(self) -> None:
        """Gives back the reservation; the share must hold no block and not be used again."""
        self._free.promised -= self.reserved
        self.reserved = np.zeros_like(self.reserved)

    def _hold(self, more: np.ndarray) -> None:
        """Changes what the share holds, and with it what is still promised."""
        before = self.claim - self.held
        self.held += more
        self._free.promised += self.claim - self.held - before
