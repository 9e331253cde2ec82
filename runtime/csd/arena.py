"""What the NAND array asks of the place where the bytes of programmed pages lie.

Frames are handed out in the order in which pages are programmed, so that storage follows what was written and not
the size of the emulated drive, and pages that are read together lie close together.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np


class PageArena(Protocol):
    """Page-sized frames: in this machine's memory, or in a file.

    Attributes:
        page_bytes: Size of a page.
        chunk_addresses: int64 ``[chunks]``, address of each chunk's first byte.
        shift: A frame is in chunk ``frame >> shift``; a chunk has ``1 << shift`` frames.
        backing: Where frames lie, in words.
        keeps_bytes: Whether what is read is what was written; if not, every frame reads alike.
    """

    page_bytes: int
    chunk_addresses: np.ndarray
    shift: int
    backing: str
    keeps_bytes: bool

    @property
    def stage_pages(self) -> int | None:
        """Pages that should be staged together; None where all of them are in memory."""
        ...

    @property
    def num_frames(self) -> int:
        """Frames in use."""
        ...

    def reserve(self, count: int) -> None:
        """Makes room, so that ``count`` frames can be taken.

        Raises:
            CapacityError: There is none.
        """
        ...

    def take(self, count: int) -> np.ndarray:
        """Returns ``count`` frames, int32 ``[count]``, released ones first."""
        ...

    def release(self, frames: np.ndarray) -> None:
        """Takes frames back; their bytes are lost."""
        ...

    def write(self, frames: np.ndarray, pages: np.ndarray) -> None:
        """Copies pages, uint8 ``[n, page_bytes]``, into frames ``[n]``."""
        ...

    def read(self, frames: np.ndarray) -> np.ndarray:
        """Returns a copy of frames ``[n]`` as uint8 ``[n, page_bytes]``."""
        ...

    def staged(self, frame_sets: Sequence[Callable[[], np.ndarray]]) -> Iterator[None]:
        """Sees to it that ``chunk_addresses`` leads to one set of frames after the other, each until the next is asked for.

        Several threads may do so at once, as long as no frame is in two sets at a time.

        Args:
            frame_sets: Each gives int ``[n]``; called where frames are not in memory anyway.
        """
        ...

    def close(self) -> None:
        """Gives the storage back; closing twice does nothing."""
        ...
