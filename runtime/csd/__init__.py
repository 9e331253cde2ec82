"""A virtual computational storage drive: flash pages with real bytes, attention inside, an honest clock.

Bottom up: ``geometry``, ``arena`` (``memory_arena`` or ``file_arena``), ``nand`` (the flash array);
``free_blocks``, ``stripe``, ``ftl`` (where pages go); ``group_buffer`` (drive memory); ``store`` (the KV cache in both);
``engine`` (attention over both); ``commands``, ``records``, ``drive``; ``throttle`` (how long it takes); ``queue``.

The drive shares parameters with the cost models, never code, so that holding measured against predicted time
means something.
"""

from runtime.csd.commands import Attend, Command, Configure, Health, Identify, Read, Reclaim, Write
from runtime.csd.drive import Drive
from runtime.csd.errors import (
    CapacityError,
    ChecksumError,
    DriveError,
    DriveStopped,
    DriveTimeout,
    LostTokens,
    MediaError,
)
from runtime.csd.file_backing import FileBacking
from runtime.csd.queue import DriveQueue
from runtime.csd.records import CommandDetail, Completion, HealthReport, Identity
from runtime.csd.sparse import Sparse

__all__ = [
    "Attend",
    "CapacityError",
    "ChecksumError",
    "Command",
    "CommandDetail",
    "Completion",
    "Configure",
    "Drive",
    "DriveError",
    "DriveQueue",
    "DriveStopped",
    "DriveTimeout",
    "FileBacking",
    "Health",
    "HealthReport",
    "Identify",
    "Identity",
    "LostTokens",
    "MediaError",
    "Read",
    "Reclaim",
    "Sparse",
    "Write",
]
