"""The devices and links behind a plan, on a virtual clock, without values."""

from __future__ import annotations

import math

import jax

from partitioner.plan.plan import Plan
from runtime.csd import DriveError
from runtime.csd.geometry import Geometry
from runtime.csd.task import Task
from runtime.csd.tasks import task_of
from runtime.devices.gpu import all_gpus
from runtime.devices.processor import Processor
from runtime.drive_tasks import drive_tasks
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.links import Links
from runtime.pace import VirtualPace
from runtime.simulation.command_counts import CommandCounts
from runtime.simulation.counted_drive import CountedDrive
from runtime.simulation.use_log import UseLog


class CountedSystem:
    """Brings up what a plan is simulated on.

    Args:
        plan: Says what is needed.

    Attributes:
        pace: A virtual clock.
        log: What each frame asked of each resource.
        processors: ``gpu0``, which stands for all GPUs, and ``host``.
        drives: The drives that hold a cache.
        links: Every link direction.

    Raises:
        SessionError: A drive cannot hold what it is to hold.
    """

    def __init__(self, plan: Plan) -> None:
        self.pace = VirtualPace()
        self.log = UseLog()
        device = jax.devices()[0]
        specs = {"gpu0": all_gpus(plan.hw), "host": plan.hw.host}
        self.processors = {n: Processor(n, spec, device, self.pace, self.log) for n, spec in specs.items()}
        self.links = Links(plan.hw, self.log)
        try:
            self.drives = _drives(plan, self.log)
        except DriveError as error:
            raise SessionError(
                f"a drive cannot hold its caches: {error}. Lower the batch or the context, or give more drives"
            ) from error

    @property
    def page_tokens(self) -> int | None:
        """Returns the tokens after which pages fill, on all drives that hold a cache; None without any."""
        return math.lcm(*(d.counts.task.group_tokens for d in self.drives.values())) if self.drives else None

    @property
    def copy_tokens(self) -> int | None:
        """Returns the tokens after which channel pages fill, on all drives that keep K by channel; None without any."""
        tasks = [d.counts.task for d in self.drives.values()]
        found = [t.channel_tokens for t in tasks if t.channel_group is not None]
        return math.lcm(*found) if found else None


def _drives(plan: Plan, log: EventLog) -> dict[str, CountedDrive]:
    counts: dict[tuple[Task, Geometry], CommandCounts] = {}
    found: dict[str, CountedDrive] = {}
    for name, task in drive_tasks(plan).items():
        spec = plan.hw.drive(name)
        shape, geometry = task_of(task.configure, spec.flash.page_bytes), Geometry.of(spec.flash)
        key = shape, geometry
        if key not in counts:
            counts[key] = CommandCounts(shape, geometry)
        found[name] = CountedDrive(name, spec, task, counts[key], log)
    return found
