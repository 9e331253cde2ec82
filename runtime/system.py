"""The devices, links and caches behind a plan, on one clock."""

from __future__ import annotations

from collections.abc import Callable

from partitioner.plan.bind import BoundModel
from partitioner.plan.plan import Plan
from runtime.devices.csd import StorageDrive
from runtime.devices.gpu import make_gpu
from runtime.devices.host import make_host
from runtime.drive_tasks import drive_tasks
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.links import Links
from runtime.pace import Pace
from runtime.states import States


class System:
    """Brings up what a plan runs on.

    Attributes:
        pace: The clock, and how work relates to it.
        log: What happened.
        processors: ``gpu0`` and ``host``.
        drives: The drives that hold a cache.
        links: Every link direction.
        states: Caches on processors.
    """

    def __init__(self, plan: Plan, pace: Pace) -> None:
        self.pace = pace
        self.log = EventLog()
        self.processors = {
            p.name: p for p in (make_gpu(plan.hw, pace, self.log), make_host(plan.hw, pace, self.log))
        }
        self.drives = {
            name: StorageDrive(name, plan.hw.drive(name), task, pace, self.log)
            for name, task in drive_tasks(plan).items()
        }
        self.links = Links(plan.hw, self.log)
        self.states = States(plan, self.processors)

    def load(self, plan: Plan, model: BoundModel, progress: Callable[[int, int], None]) -> None:
        """Places every parameter on the devices that keep it.

        Raises:
            SessionError: One lives on a device that computes nothing.
        """
        for done, (name, value) in enumerate(model.params.items()):
            progress(done, len(model.params))
            for device in (plan.homes[name], *plan.copies.get(name, ())):
                if device not in self.processors:
                    raise SessionError(
                        f"the plan keeps the parameter {name!r} on {device}; weights can live on "
                        f"{' and '.join(self.processors)}, so partition with one of those as their home"
                    )
                self.processors[device].weights[name] = self.processors[device].place(value)
        progress(len(model.params), len(model.params))

    def clear(self) -> None:
        """Drops all tokens from all caches."""
        self.states.clear()
        for drive in self.drives.values():
            drive.clear()
