"""Where the pages of a drive lie: in memory, in a file, or nowhere."""

from dataclasses import dataclass

from runtime.csd.arena import PageArena
from runtime.csd.blank_arena import BlankArena
from runtime.csd.file_arena import FileArena
from runtime.csd.file_backing import FileBacking
from runtime.csd.memory_arena import MemoryArena


@dataclass(frozen=True)
class NoBacking:
    """Keeps no bytes: every page reads as zeros.

    What a drive would read and program can so be counted for caches that this machine has no room for. All else, from
    mapping and wear to time, is as ever.
    """


def arena_of(backing: FileBacking | NoBacking | None, page_bytes: int, name: str) -> PageArena:
    """Returns frames for the pages of the drive ``name``; None stands for memory.

    Raises:
        DriveError: No file can be made where ``backing`` wants it.
        CapacityError: There is no room for it.
    """
    if backing is None:
        return MemoryArena(page_bytes)
    if isinstance(backing, NoBacking):
        return BlankArena(page_bytes)
    return FileArena(page_bytes, backing, name)
