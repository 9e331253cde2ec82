"""Memory of this machine that holds the bytes of programmed pages.

Frames are handed out in the order in which pages are programmed, so memory follows what was written and not
the size of the emulated drive, and pages that are read together lie close together.
"""

import numpy as np

_CHUNK_BYTES = 16 << 20


class PageArena:
    """Page-sized frames in chunks that never move.

    Attributes:
        page_bytes: Size of a frame.
        shift: A frame is in chunk ``frame >> shift``; a chunk has ``1 << shift`` frames.
        chunk_addresses: int64 ``[chunks]``, address of each chunk's first byte.
    """

    def __init__(self, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        self.shift = max(0, (_CHUNK_BYTES // page_bytes).bit_length() - 1)
        self.chunk_addresses = np.zeros(0, np.int64)
        self._chunks: list[np.ndarray] = []
        self._unused = 0
        self._released: list[int] = []

    @property
    def num_frames(self) -> int:
        """Frames in use."""
        return self._unused - len(self._released)

    def take(self, count: int) -> np.ndarray:
        """Returns ``count`` frames, int32 ``[count]``, released ones first."""
        reused = min(count, len(self._released))
        old = self._released[len(self._released) - reused :]
        del self._released[len(self._released) - reused :]
        fresh = np.arange(self._unused, self._unused + count - reused, dtype=np.int32)
        self._unused += count - reused
        while self._unused > len(self._chunks) << self.shift:
            self._chunks.append(np.empty((1 << self.shift, self.page_bytes), np.uint8))
            self.chunk_addresses = np.array([chunk.ctypes.data for chunk in self._chunks], np.int64)
        return np.concatenate([np.array(old, np.int32), fresh])

    def release(self, frames: np.ndarray) -> None:
        """Takes frames back; their bytes are lost."""
        self._released.extend(frames.tolist())

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

    @property
    def _mask(self) -> int:
        return (1 << self.shift) - 1

    def _by_chunk(self, frames: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Returns each chunk with the positions in ``frames`` that lie in it."""
        chunks = frames >> self.shift
        return [(int(chunk), np.flatnonzero(chunks == chunk)) for chunk in np.unique(chunks)]
