"""Memory of this machine that holds the bytes of programmed pages."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from runtime.csd.free_frames import FreeFrames

_CHUNK_BYTES = 16 << 20


class MemoryArena:
    """Frames in chunks that never move; see :class:`runtime.csd.arena.PageArena`."""

    def __init__(self, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        self.shift = max(0, (_CHUNK_BYTES // page_bytes).bit_length() - 1)
        self.chunk_addresses = np.zeros(0, np.int64)
        self.backing = "memory"
        self.keeps_bytes = True
        self.stage_pages = None
        self._chunks: list[np.ndarray] = []
        self._free = FreeFrames()

    @property
    def num_frames(self) -> int:
        """Frames in use."""
        return self._free.num_used

    def reserve(self, count: int) -> None:
        """Does nothing: memory is asked for when it is used."""

    def take(self, count: int) -> np.ndarray:
        """Returns ``count`` frames, int32 ``[count]``, released ones first."""
        frames = self._free.take(count)
        while self._free.num_touched > len(self._chunks) << self.shift:
            self._chunks.append(np.empty((1 << self.shift, self.page_bytes), np.uint8))
            self.chunk_addresses = np.array([chunk.ctypes.data for chunk in self._chunks], np.int64)
        return frames

    def release(self, frames: np.ndarray) -> None:
        """Takes frames back; their bytes are lost."""
        self._free.release(frames)

    def write(self, frames: np.ndarray, pages: np.ndarray) -> None:
        """Copies pages, uint8 ``[n, page_bytes]``, into frames ``[n]``."""
        for chunk, select in self._by_chunk(frames):
            self._chunks[chunk][frames[select] & self._mask] = pages[select]

    def read(self, frames: np.ndarray) -> np.ndarray:
        """Returns a copy of frames ``[n]`` as uint8 ``[n, page_bytes]``."""
        pages = np.empty((len(frames), self.page_bytes), np.uint8)
        for chunk, select in self._by_chunk(frames):
            pages[select] = self._chunks[chunk][frames[select] & self._mask]
        return pages

    def staged(self, frame_sets: Sequence[Callable[[], np.ndarray]]) -> Iterator[None]:
        """Yields once for each set: every frame is in memory."""
        for _ in frame_sets:
            yield

    def close(self) -> None:
        """Does nothing: memory goes when the drive does."""

    @property
    def _mask(self) -> int:
        return (1 << self.shift) - 1

    def _by_chunk(self, frames: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Returns each chunk with the positions in ``frames`` that lie in it."""
        chunks = frames >> self.shift
        return [(int(chunk), np.flatnonzero(chunks == chunk)) for chunk in np.unique(chunks)]
