"""An arena that keeps no bytes."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np


class BlankArena:
    """Every frame is the same page of zeros; see :class:`runtime.csd.arena.PageArena`."""

    def __init__(self, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        self.shift = 0
        self.backing = "nowhere"
        self.keeps_bytes = False
        self.stage_pages = None
        self.num_frames = 1
        self._page = np.zeros(page_bytes, np.uint8)
        self.chunk_addresses = np.array([self._page.ctypes.data], np.int64)

    def reserve(self, count: int) -> None:
        """Does nothing."""

    def take(self, count: int) -> np.ndarray:
        """Returns the one frame ``count`` times, int32 ``[count]``."""
        return np.zeros(count, np.int32)

    def release(self, frames: np.ndarray) -> None:
        """Does nothing."""

    def write(self, frames: np.ndarray, pages: np.ndarray) -> None:
        """Forgets the pages."""

    def read(self, frames: np.ndarray) -> np.ndarray:
        """Returns zeros, uint8 ``[n, page_bytes]``."""
        return np.zeros((len(frames), self.page_bytes), np.uint8)

    def staged(self, frame_sets: Sequence[Callable[[], np.ndarray]]) -> Iterator[None]:
        """Yields once for each set: the frame is in memory."""
        for _ in frame_sets:
            yield

    def close(self) -> None:
        """Does nothing."""
