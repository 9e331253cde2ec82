"""Memory that pages of a file are read into."""

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

BLOCK_BYTES = 4096
"""Memory and offsets of direct I/O are multiples of this: the largest logical block that NVMe drives commonly have."""


class StagingArea:
    """Page-aligned memory that grows to what is asked of it, and moves when it does."""

    def __init__(self) -> None:
        self._bytes = np.zeros(0, np.uint8)

    def frames(self, count: int, frame_bytes: int) -> np.ndarray:
        """Returns room for frames, uint8 ``[count, frame_bytes]``; what the area held before is lost."""
        wanted = count * frame_bytes
        if wanted > self._bytes.size:
            self._bytes = np.frombuffer(mmap.mmap(-1, wanted), np.uint8)
        return self._bytes[:wanted].reshape(count, frame_bytes)


class StagingAreas:
    """Areas that threads share, so that memory is asked for once and not with every command."""

    def __init__(self) -> None:
        self._idle: list[StagingArea] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, count: int) -> Iterator[list[StagingArea]]:
        """Lends areas that nobody else uses meanwhile."""
        with self._lock:
            kept = max(0, len(self._idle) - count)
            areas, self._idle = self._idle[kept:], self._idle[:kept]
        areas += [StagingArea() for _ in range(count - len(areas))]
        try:
            yield areas
        finally:
            with self._lock:
                self._idle += areas
