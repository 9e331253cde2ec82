"""The drives of a session: made when first needed, kept from one plan to the next, given up when they fail."""

from __future__ import annotations

from contextlib import suppress

from cost_models.hardware import HardwareSpec
from runtime.csd import FileBacking, HealthReport
from runtime.csd.errors import DriveTimeout
from runtime.csd.queue import IO_TIMEOUT_S
from runtime.devices.csd import StorageDrive
from runtime.drive_tasks import DriveTask
from runtime.event_log import EventLog
from runtime.pace import Pace


class DrivePool:
    """Keeps the drives that a session has brought up, with their wear and their faults.

    Plans name the drives that are left ``csd0``, ``csd1``, ... A drive keeps the name it began with in messages, timelines and
    reports.

    Args:
        hw: The system.
        pace: The clock, and how work relates to it.
        log: Takes what drives did when.
        backing: Where pages lie, if not in memory.
        command_timeout_s: Seconds without an answer after which a drive is given up.

    Attributes:
        hw: The system as far as it is left.
    """

    def __init__(
        self,
        hw: HardwareSpec,
        pace: Pace,
        log: EventLog,
        backing: FileBacking | None = None,
        command_timeout_s: float = IO_TIMEOUT_S,
    ) -> None:
        self.hw = hw
        self._pace, self._log, self._backing, self._timeout_s = pace, log, backing, command_timeout_s
        self._left = [name for name in hw.device_names if name.startswith("csd")]
        self._drives: dict[str, StorageDrive] = {}

    def take(self, name: str, task: DriveTask) -> StorageDrive:
        """Returns a drive, by its name in plans, with room for a task; what it held before is dropped.

        Raises:
            DriveError: It cannot hold the task, or there is no place for its pages.
        """
        own = self._left[int(name.removeprefix("csd"))]
        if own in self._drives:
            self._drives[own].configure(task)
        else:
            self._drives[own] = StorageDrive(
                own, self.hw.drive(name), task, self._pace, self._log, self._backing, self._timeout_s
            )
        return self._drives[own]

    def give_up(self, drive: str) -> None:
        """Leaves a drive out of the system from now on, by the name it began with."""
        self.hw = self.hw.without_drive(f"csd{self._left.index(drive)}")
        self._left.remove(drive)
        if drive in self._drives:
            self._drives.pop(drive).close()

    def health(self) -> dict[str, HealthReport]:
        """Returns the counters of every drive that is in use and answers, by the name it began with."""
        found: dict[str, HealthReport] = {}
        for name, drive in self._drives.items():
            with suppress(DriveTimeout):
                found[name] = drive.health()
        return found

    def close(self) -> None:
        """Gives back what the drives hold; closing twice does nothing."""
        for drive in self._drives.values():
            drive.close()
