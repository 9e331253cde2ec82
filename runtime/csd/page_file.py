"""A file without a name that is preallocated, and read and written past the operating system's page cache."""

import errno
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from runtime.csd.errors import CapacityError, DriveError
from runtime.csd.staging_area import BLOCK_BYTES, StagingArea

DIRECT = "file, direct"
DROPPED = "file, page cache dropped"

# What the system says where there is no room: disk, quota, or the largest file of the file system.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What it says where a file system cannot preallocate.
_NOT_OFFERED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)


class PageFile:
    """Blocks of one file; it has no name, so it is gone when it is closed or the process ends, however that happens.

    Buffers and offsets are multiples of 4096 bytes, as direct I/O needs it. Where platform or file system offer
    no direct I/O, what was read or written is dropped from the page cache instead, as far as the platform lets it.

    Attributes:
        folder: Where the file is.
        backing: ``file, direct`` or ``file, page cache dropped``.
        num_bytes: Bytes preallocated.

    Raises:
        DriveError: The folder cannot hold a file.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.num_bytes = 0
        try:
            self._file, path = tempfile.mkstemp(prefix=f"{name}-pages-", dir=folder)
            os.unlink(path)
        except OSError as error:
            raise DriveError(
                f"no file for pages can be made in {folder}: {error.strerror}; give a folder that exists and can be written to"
            ) from error
        self._close = weakref.finalize(self, os.close, self._file)
        self.backing = DIRECT if self._bypass_page_cache() else DROPPED

    def grow(self, num_bytes: int) -> None:
        """Preallocates the file up to a size; a smaller one than it has leaves it as it is.

        Raises:
            CapacityError: The disk has no room.
        """
        if num_bytes <= self.num_bytes:
            return
        self._attempt(lambda: self._allocate(num_bytes - self.num_bytes), num_bytes)
        self.num_bytes = num_bytes

    def read(self, buffer: np.ndarray, offset: int) -> None:
        """Fills a contiguous uint8 array with the bytes at an offset.

        Raises:
            DriveError: The file is shorter than it was made, or the disk fails.
        """
        rest, at = buffer.data.cast("B"), offset
        while rest:
            count = self._attempt(lambda rest=rest, at=at: _read_at(self._file, rest, at))
            if count == 0:
                raise DriveError(
                    f"the file of pages in {self.folder} ends at byte {os.fstat(self._file).st_size} of "
                    f"{self.num_bytes}: it was truncated, and pages are lost; open the drive again and write its cache anew"
                )
            rest, at = rest[count:], at + count
        self._drop_cached(offset, buffer.nbytes)

    def write(self, buffer: np.ndarray, offset: int) -> None:
        """Writes a contiguous uint8 array to an offset.

        Raises:
            CapacityError: The disk has no room.
            DriveError: The disk fails.
        """
        rest, at = buffer.data.cast("B"), offset
        while rest:
            count = self._attempt(lambda rest=rest, at=at: _write_at(self._file, rest, at))
            rest, at = rest[count:], at + count
        if self.backing != DIRECT:
            self._attempt(lambda: os.fsync(self._file))  # what is not on disk yet cannot be dropped
        self._drop_cached(offset, buffer.nbytes)

    def close(self) -> None:
        """Closes, and so deletes, the file; closing twice does nothing."""
        self._file = -1
        self._close()

    def _bypass_page_cache(self) -> bool:
        """Turns the page cache off for the file, if a block can be written and read then; tells whether it is off."""
        try:
            import fcntl
        except ImportError:
            return False
        if no_cache := getattr(fcntl, "F_NOCACHE", 0):
            fcntl.fcntl(self._file, no_cache, 1)
            return True
        direct = getattr(os, "O_DIRECT", 0)
        if not direct:
            return False
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        block = StagingArea().frames(1, BLOCK_BYTES)[0].data
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags | direct)
            _write_at(self._file, block, 0)
            _read_at(self._file, block, 0)
        except OSError:
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags)
            return False
        return True

    def _allocate(self, num_bytes: int) -> None:
        """Adds bytes to the end of the file; where they cannot be preallocated, they are only promised."""
        try:
            os.posix_fallocate(self._file, self.num_bytes, num_bytes)
        except AttributeError:
            os.ftruncate(self._file, self.num_bytes + num_bytes)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            os.ftruncate(self._file, self.num_bytes + num_bytes)

    def _drop_cached(self, offset: int, num_bytes: int) -> None:
        if self.backing != DIRECT and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, offset, num_bytes, os.POSIX_FADV_DONTNEED)

    def _attempt(self, action: Callable[[], Any], num_bytes: int = 0) -> Any:
        """Returns what an action on a file of ``num_bytes``, or of its size, gives, or raises what a user can act on."""
        try:
            return action()
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise CapacityError(
                    f"the disk of {self.folder} has no room for {num_bytes or self.num_bytes} bytes of pages: "
                    f"{error.strerror}; make room, use another folder, or lower the batch or the length"
                ) from error
            raise DriveError(
                f"the file of pages in {self.folder} cannot be used: {error.strerror}; "
                "look after the disk, or keep the pages in memory or another folder"
            ) from error


def _read_at(file: int, buffer: memoryview, offset: int) -> int:
    """Reads into a buffer and returns how many bytes came."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [buffer], offset)
    found = os.pread(file, len(buffer), offset)
    buffer[: len(found)] = found
    return len(found)


def _write_at(file: int, buffer: memoryview, offset: int) -> int:
    """Writes a buffer and returns how many bytes went."""
    return os.pwritev(file, [buffer], offset) if hasattr(os, "pwritev") else os.pwrite(file, buffer, offset)
