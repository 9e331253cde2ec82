"""Errors of the virtual drive.

DriveError
├── CapacityError      flash or drive memory is too small for what was asked
└── ChecksumError      a page no longer holds what was programmed
"""


class DriveError(RuntimeError):
    """A command or flash operation broke a rule of the drive; the message says which and what to do."""


class CapacityError(DriveError):
    """The flash or the drive's memory cannot hold what was asked."""


class ChecksumError(DriveError):
    """A page read back differs from what was programmed."""
