"""What one command made the flash do, counted per channel."""

import numpy as np

from runtime.csd.sparse import StepCounts, TwoSteps


class Traffic:
    """Counters of one command.

    Attributes:
        pages_read: int64 ``[channels]``, those that the command waits for.
        background_reads: int64 ``[channels]``, pages that the drive reads for its own use, behind the command.
        pages_programmed: int64 ``[channels]``.
        blocks_erased: int64 ``[channels]``.
        dram_bytes: Bytes of keys and values moved to or from the group buffer.
        steps: What sparse attention read; its pages are among ``pages_read``.
    """

    def __init__(self, channels: int) -> None:
        self.pages_read = np.zeros(channels, np.int64)
        self.background_reads = np.zeros(channels, np.int64)
        self.pages_programmed = np.zeros(channels, np.int64)
        self.blocks_erased = np.zeros(channels, np.int64)
        self.dram_bytes = 0
        self.steps = StepCounts()

    def add_steps(self, steps: TwoSteps | None) -> None:
        """Adds what a sparse attention read, if there was one."""
        if steps is not None:
            self.pages_read += steps.pages
            self.steps += steps.counts
