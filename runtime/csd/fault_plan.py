"""What goes wrong in one drive, drawn from its seed and its name.

Every kind of fault has a source of randomness of its own, so that a chance that is changed leaves the other faults where
they were. Draws follow the order of the commands and of their page reads and programs; their cost grows with the number of
faults, not with that of pages.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from cost_models.hardware import FaultSpec
from runtime.csd.retry_counts import retry_chances


@dataclass(frozen=True, eq=False)
class RetriedPages:
    """The pages of one read that had to be read more than once.

    Attributes:
        channel: int64 ``[n]``, ascending.
        position: int64 ``[n]``, which of the pages read on that channel it is, from 0.
        retries: int64 ``[n]``, how often it was read again, 1 at least.
    """

    channel: np.ndarray
    position: np.ndarray
    retries: np.ndarray

    def of_channel(self, channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns position and retries of the pages of one channel, each int64 ``[n]``."""
        first, last = np.searchsorted(self.channel, [channel, channel + 1])
        return self.position[first:last], self.retries[first:last]


class FaultPlan:
    """Decides which reads are repeated, which pages are lost, which programs fail and which blocks come worn."""

    def __init__(self, faults: FaultSpec, drive: str) -> None:
        self.faults = faults
        seeds = np.random.SeedSequence([faults.seed, zlib.crc32(drive.encode())]).spawn(4)
        self._retries, self._losses, self._programs, self._wear = map(np.random.default_rng, seeds)
        self._retry_chances = retry_chances(faults.read_retries_mean, faults.read_retries_max)

    def retried(self, pages: np.ndarray) -> RetriedPages | None:
        """Draws the page reads that are repeated; None where none is.

        Args:
            pages: Pages read on each channel, int64 ``[channels]``.
        """
        if not self.faults.read_retries_mean:
            return None
        chance = 1.0 - float(self._retry_chances[0])
        chosen = _choose(self._retries, int(pages.sum()), chance)
        if not chosen.size:
            return None
        ends = np.cumsum(pages)
        channel = np.searchsorted(ends, chosen, side="right")
        counts = np.arange(1, len(self._retry_chances))
        retries = self._retries.choice(counts, len(chosen), p=self._retry_chances[1:] / chance)
        return RetriedPages(channel, chosen - (ends - pages)[channel], retries)

    def uncorrectable(self, num_pages: int) -> np.ndarray:
        """Draws which of ``num_pages`` page reads find more wrong bits than can be corrected, int64 ``[n]``, ascending."""
        return _choose(self._losses, num_pages, self.faults.uncorrectable_per_page_read)

    def below(self, limit: int, count: int) -> np.ndarray:
        """Draws where ``count`` losses are, int64 ``[count]``: which of ``limit`` bits or pages."""
        return self._losses.integers(0, limit, count)

    def failed_programs(self, num_pages: int) -> np.ndarray:
        """Draws which of ``num_pages`` page programs fail, int64 ``[n]``, ascending."""
        return _choose(self._programs, num_pages, self.faults.program_failure_per_page)

    def worn_blocks(self, num_blocks: int) -> np.ndarray:
        """Draws the blocks that come worn, int64 ``[n]``, ascending: a share of ``num_blocks``, rounded down."""
        count = int(num_blocks * self.faults.worn_blocks)
        return (
            np.sort(self._wear.choice(num_blocks, count, replace=False)) if count else np.zeros(0, np.int64)
        )


def _choose(random: np.random.Generator, count: int, chance: float) -> np.ndarray:
    """Returns those of ``count`` independent events that happen, int64 ``[n]``, ascending."""
    happen = random.binomial(count, chance) if chance else 0
    if not happen:
        return np.zeros(0, np.int64)
    return np.sort(random.choice(count, happen, replace=False, shuffle=False))
