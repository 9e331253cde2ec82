"""A file that holds the bytes of programmed pages."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import pairwise

import numpy as np

from runtime.csd.errors import CapacityError
from runtime.csd.file_backing import FileBacking
from runtime.csd.free_frames import FreeFrames
from runtime.csd.page_file import PageFile
from runtime.csd.reader_threads import reader_threads
from runtime.csd.staging_area import BLOCK_BYTES, StagingArea, StagingAreas

STAGE_BYTES = 8 << 20
"""Pages that are staged together: large enough for the full rate of an NVMe drive (some 3 ms at 3 GB/s), small enough that
what is computed meanwhile is not far behind. A thread that attends has two areas of this size."""

_GROWTH_BYTES = 64 << 20
"""By what the file grows at least."""


class FileArena:
    """Frames in one preallocated file; see :class:`runtime.csd.arena.PageArena`.

    A frame is a page padded to a multiple of 4096 bytes, so that every frame can be read directly. ``chunk_addresses`` has
    one entry for each frame (``shift`` is 0): where it was staged last.

    Raises:
        DriveError: The folder cannot hold a file.
        CapacityError: The disk has no room.
    """

    def __init__(self, page_bytes: int, backing: FileBacking, name: str) -> None:
        self.page_bytes = page_bytes
        self.shift = 0
        self.chunk_addresses = np.zeros(0, np.int64)
        self._frame_bytes = -(-page_bytes // BLOCK_BYTES) * BLOCK_BYTES
        self.stage_pages = max(1, STAGE_BYTES // self._frame_bytes)
        self._most_bytes = backing.capacity_bytes
        self._free = FreeFrames()
        self._areas = StagingAreas()
        self._file = PageFile(backing.folder, name)
        self.backing = self._file.backing
        self.keeps_bytes = True
        if self._most_bytes is not None:
            self._file.grow(self._most_bytes)

    @property
    def num_frames(self) -> int:
        """Frames in use."""
        return self._free.num_used

    def reserve(self, count: int) -> None:
        """Preallocates, so that ``count`` frames can be taken.

        Raises:
            CapacityError: The disk, or the capacity that the user gave, has no room for them.
        """
        wanted = self._free.touched_with(count) * self._frame_bytes
        if wanted <= self._file.num_bytes:
            return
        if self._most_bytes is not None:
            raise CapacityError(
                f"the file of pages in {self._file.folder} has {self._most_bytes} bytes and would need {wanted}; "
                "give FileBacking a larger capacity_bytes, or None to let the file grow"
            )
        self._file.grow(max(wanted, self._file.num_bytes + _GROWTH_BYTES))

    def take(self, count: int) -> np.ndarray:
        """Returns ``count`` frames, int32 ``[count]``, released ones first.

        Raises:
            CapacityError: There is no room for them.
        """
        self.reserve(count)
        frames = self._free.take(count)
        missing = self._free.num_touched - len(self.chunk_addresses)
        if missing > 0:
            more = np.zeros(max(missing, len(self.chunk_addresses)), np.int64)
            self.chunk_addresses = np.concatenate([self.chunk_addresses, more])
        return frames

    def release(self, frames: np.ndarray) -> None:
        """Takes frames back; their bytes are lost."""
        self._free.release(frames)

    def write(self, frames: np.ndarray, pages: np.ndarray) -> None:
        """Copies pages, uint8 ``[n, page_bytes]``, into frames ``[n]``; neighbouring frames in one go.

        Raises:
            CapacityError: The disk has no room.
            DriveError: The disk fails.
        """
        with self._areas.borrow(1) as (area,):
            for chosen in self._in_turns(frames):
                staged = area.frames(len(chosen), self._frame_bytes)
                staged[:, : self.page_bytes] = pages[chosen]
                for first, last, frame in _runs(frames[chosen]):
                    self._file.write(staged[first:last], frame * self._frame_bytes)

    def read(self, frames: np.ndarray) -> np.ndarray:
        """Returns frames ``[n]`` as uint8 ``[n, page_bytes]``; neighbouring frames in one go.

        Raises:
            DriveError: The file was truncated, or the disk fails.
        """
        pages = np.empty((len(frames), self.page_bytes), np.uint8)
        with self._areas.borrow(1) as (area,):
            for chosen in self._in_turns(frames):
                pages[chosen] = self._read_into(area, frames[chosen])[:, : self.page_bytes]
        return pages

    def staged(self, frame_sets: Sequence[Callable[[], np.ndarray]]) -> Iterator[None]:
        """Reads one set of frames after the other into memory, the next one while the caller works on this one.

        Args:
            frame_sets: Each gives int ``[n]``.

        Raises:
            DriveError: The file was truncated, or the disk fails.
        """

        def read(area: StagingArea, frames: Callable[[], np.ndarray]) -> None:
            wanted = np.sort(frames())
            staged = self._read_into(area, wanted)
            self.chunk_addresses[wanted] = staged.ctypes.data + np.arange(len(wanted)) * self._frame_bytes

        with self._areas.borrow(2) as areas:
            ahead: Future[None] | None = None
            try:
                for number, frames in enumerate(frame_sets):
                    if ahead is None:
                        read(areas[0], frames)
                    else:
                        ahead.result()
                    following = frame_sets[number + 1 : number + 2]
                    ahead = (
                        reader_threads().submit(read, areas[(number + 1) % 2], following[0])
                        if following
                        else None
                    )
                    yield
            finally:
                if ahead is not None:
                    ahead.exception()  # nobody may borrow an area that is still read into

    def close(self) -> None:
        """Deletes the file; closing twice does nothing."""
        self._file.close()

    def _read_into(self, area: StagingArea, frames: np.ndarray) -> np.ndarray:
        """Returns frames, ascending, as they lie in an area, uint8 ``[n, frame_bytes]``."""
        staged = area.frames(len(frames), self._frame_bytes)
        for first, last, frame in _runs(frames):
            self._file.read(staged[first:last], frame * self._frame_bytes)
        return staged

    def _in_turns(self, frames: np.ndarray) -> list[np.ndarray]:
        """Returns positions in ``frames`` in ascending order of frames, cut to what an area holds."""
        cuts = range(self.stage_pages, len(frames), self.stage_pages)
        return np.split(np.argsort(frames, kind="stable"), cuts)


def _runs(frames: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yields where runs of consecutive frames begin and end (exclusive) in an ascending array, with the first frame."""
    edges = [0, *(np.flatnonzero(np.diff(frames) != 1) + 1).tolist(), len(frames)]
    for first, last in pairwise(edges):
        if first < last:
            yield first, last, int(frames[first])
