"""The devices, links and caches behind a plan, on one clock."""

from __future__ import annotations

from collections.abc import Callable

from partitioner.plan.bind import BoundModel
from partitioner.plan.plan import Plan
from runtime.cache_homes import check_shares
from runtime.csd import DriveError
from runtime.devices.gpu import make_gpu
from runtime.devices.host import make_host
from runtime.drive_pool import DrivePool
from runtime.drive_tasks import drive_tasks
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.links import Links
from runtime.pace import Pace
from runtime.share_caches import ShareCaches
from runtime.states import States


class System:
    """Brings up what a plan runs on.

    Args:
        plan: Says what is needed.
        pace: The clock, and how work relates to it.
        log: Takes what happens.
        pool: The session's drives.

    Attributes:
        pace: The clock, and how work relates to it.
        log: What happened.
        processors: ``gpu0`` and ``host``.
        drives: The drives that hold a cache.
        links: Every link direction.
        states: Whole caches on processors.
        share_caches: Parts of shared caches on processors.

    Raises:
        SessionError: The plan wants more GPUs than the runtime drives, or a drive cannot hold what it is to hold.
    """

    def __init__(self, plan: Plan, pace: Pace, log: EventLog, pool: DrivePool) -> None:
        if len(plan.hw.gpus) != 1:
            raise SessionError(
                f"the plan is for {len(plan.hw.gpus)} GPUs, and the runtime drives one; partition for hardware with one GPU"
            )
        check_shares(plan)
        self.pace = pace
        self.log = log
        self.processors = {p.name: p for p in (make_gpu(plan.hw, pace, log), make_host(plan.hw, pace, log))}
        try:
            self.drives = {name: pool.take(name, task) for name, task in drive_tasks(plan).items()}
        except DriveError as error:
            raise SessionError(f"a drive cannot hold its caches: {error}") from error
        self.links = Links(plan.hw, log)
        self.states = States(plan, self.processors)
        self.share_caches = ShareCaches(plan, self.processors)

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
        """Drops all tokens from all caches, and waits until the drives have erased the blocks that held them."""
        self.states.clear()
        self.share_caches.clear()
        for processor in self.processors.values():
            processor.forget()
        erased_s = [drive.clear() for drive in self.drives.values()]
        self.pace.clock.sleep_until(max(erased_s, default=0.0))
