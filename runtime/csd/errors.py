"""Errors of the virtual drive.

DriveError
├── CapacityError      flash or drive memory is too small for what was asked
├── ChecksumError      a page no longer holds what was programmed
│   └── MediaError     ... and these tokens are lost with it
├── DriveStopped       the drive has stopped answering; inside the emulation only
└── DriveTimeout       what a host sees of that: no answer within the timeout
"""

import copy
from dataclasses import dataclass
from typing import Self


class DriveError(RuntimeError):
    """A command or flash operation broke a rule of the drive; the message says which and what to do.

    Attributes:
        drive: Name of the drive that raised it, once it has left the drive.
    """

    drive: str | None = None

    def of_drive(self, drive: str) -> Self:
        """Returns the same error with the drive's name, which the message then starts with."""
        named = copy.copy(self)
        named.args = (f"{drive}: {self}",)
        named.drive = drive
        return named


class CapacityError(DriveError):
    """The flash or the drive's memory cannot hold what was asked."""


class ChecksumError(DriveError):
    """A page read back differs from what was programmed."""


@dataclass(frozen=True, order=True)
class LostTokens:
    """Tokens that can no longer be read.

    Attributes:
        layer: Their layer.
        row: Their sequence.
        first_token: The first one.
        last_token: The one behind the last one.
        task: The task that stored them.
    """

    layer: int
    row: int
    first_token: int
    last_token: int
    task: int = 0

    def __str__(self) -> str:
        return f"layer {self.layer}, sequence {self.row}, tokens {self.first_token} to {self.last_token - 1}"


class MediaError(ChecksumError):
    """Pages cannot be corrected; the command that met them has changed nothing.

    Attributes:
        lost: What the pages held.
    """

    def __init__(self, message: str, lost: tuple[LostTokens, ...] = ()) -> None:
        super().__init__(message)
        self.lost = lost


class DriveStopped(DriveError):  # noqa: N818 - a signal inside of the emulation
    """The drive has stopped; a real one says nothing, so whoever speaks to it turns this into a timeout."""


class DriveTimeout(DriveError):  # noqa: N818 - says what happened, as the errors of the field do
    """A command got no answer in time."""
