"""A virtual computational storage drive: flash pages with real bytes, attention inside, an honest clock.

Bottom up: ``geometry``, ``arena`` (``memory_arena`` or ``file_arena``), ``nand`` (the flash array); ``free_blocks``,
``block_share``, ``stripe``, ``page_log`` (where pages go), ``address``, ``ftl`` (what finds them again);
``group_buffer``, ``value_sums`` (drive memory); ``channel_copy``, ``store`` (the KV cache of one task); ``tasks`` (of all);
``engine`` (attention over pages and buffer); ``commands``, ``records``, ``execute_write``, ``execute_attend``,
``execute_read``, ``reclaim``, ``drive`` (dispatch and faults); ``throttle`` (how long it takes); ``queue``.

The drive shares parameters with the cost models, never code, so that holding measured against predicted time
means something.
"""

from runtime.csd.backing import NoBacking
from runtime.csd.commands import Attend, Command, Configure, Health, Identify, Read, Reclaim, Release, Write
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
from runtime.csd.records import CommandDetail, Completion, HealthReport, Identity, TaskIdentity
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
    "NoBacking",
    "Read",
    "Reclaim",
    "Release",
    "Sparse",
    "TaskIdentity",
    "Write",
]
