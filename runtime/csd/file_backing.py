"""How a user asks for pages in a file."""

from dataclasses import dataclass
from pathlib import Path

from runtime.csd.errors import DriveError


@dataclass(frozen=True)
class FileBacking:
    """Lets the pages of a drive lie in a file instead of memory.

    Attributes:
        folder: Where the file is made; a folder that exists. On a file system that knows direct I/O, no page cache
            of the operating system stands between drive and disk.
        capacity_bytes: Room for frames that is preallocated at once and is all there will be; a frame is a page padded
            to a multiple of 4096 bytes. None: room is preallocated in steps, as pages are programmed.
    """

    folder: Path
    capacity_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.capacity_bytes is not None and self.capacity_bytes < 1:
            raise DriveError(
                f"capacity_bytes is {self.capacity_bytes}; give at least 1, or None to let the file grow with what is stored"
            )
