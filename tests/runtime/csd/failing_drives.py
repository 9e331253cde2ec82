"""Small drives that fail."""

import dataclasses
from typing import Any

from cost_models.hardware import FaultSpec
from runtime.csd import Command, Drive, Health, HealthReport

from .drives import configured, spec


def faulty(task: dict[str, Any] | None = None, flash: dict[str, Any] | None = None, **faults: Any) -> Drive:
    """Returns the small drive with faults."""
    return configured(spec(**(flash or {}), faults=FaultSpec(**faults)), **(task or {}))


def become(drive: Drive, **faults: Any) -> None:
    """Changes the chances of a drive that worked so far."""
    drive._faults.faults = dataclasses.replace(drive._faults.faults, **faults)


def health(drive: Drive, *, scan: bool = False) -> HealthReport:
    """Returns a drive's counters."""
    return drive.execute(Health(scan=scan), 0.0).value


def again_and_again(drive: Drive, command: Command) -> None:
    """Executes a command so often that what can happen happens."""
    for _ in range(200):
        drive.execute(command, 0.0)
