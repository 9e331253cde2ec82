"""What serving came to: tokens, time, and how well slots and devices were used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partitioner.plan.timeline import Timeline
from runtime.csd import HealthReport
from runtime.installed_plan import Workbench
from runtime.recovery import Recovery
from runtime.request import RequestTimings


@dataclass(frozen=True)
class ServingTotals:
    """Holds what all requests that have ended came to.

    Attributes:
        num_requests: How many.
        num_tokens: Their new tokens.
        total_s: Seconds since the start of serving, by the session's clock.
        num_slots: Rows of the plan's batch.
        slot_utilisation: Share of the slots' time in which they had one of these requests.
        busy_s: Seconds in use of each device and link direction.
        drive_health: Counters of each drive, by name.
        recoveries: What was lost on the way, and what it cost to go on.
        fidelity: As of a generation: 1 where this machine keeps up with the hardware it emulates.
    """

    num_requests: int
    num_tokens: int
    total_s: float
    num_slots: int
    slot_utilisation: float
    busy_s: Mapping[str, float]
    drive_health: Mapping[str, HealthReport]
    recoveries: tuple[Recovery, ...]
    fidelity: float

    @property
    def tokens_per_second(self) -> float:
        """Returns new tokens of all requests per second of serving."""
        return self.num_tokens / self.total_s if self.total_s else float("inf")


class Tally:
    """Adds up what requests took; holds sums alone, however long serving goes on.

    Args:
        origin_s: When serving began, by the session's clock.
    """

    def __init__(self, origin_s: float) -> None:
        self._origin_s = origin_s
        self._num_requests = self._num_tokens = 0
        self._slot_s = 0.0
        self._busy_s: dict[str, float] = {}

    def add(self, timings: RequestTimings) -> None:
        """Counts a request that has ended."""
        self._num_requests += 1
        self._num_tokens += timings.num_tokens
        self._slot_s += timings.total_s

    def add_busy(self, timeline: Timeline) -> None:
        """Counts what resources did meanwhile."""
        for resource, seconds in timeline.busy_s().items():
            self._busy_s[resource] = self._busy_s.get(resource, 0.0) + seconds

    def totals(
        self, now_s: float, num_slots: int, recoveries: tuple[Recovery, ...], bench: Workbench
    ) -> ServingTotals:
        """Returns the sums at ``now_s``, by the session's clock."""
        total_s = now_s - self._origin_s
        return ServingTotals(
            self._num_requests,
            self._num_tokens,
            total_s,
            num_slots,
            self._slot_s / (num_slots * total_s) if total_s else 0.0,
            dict(self._busy_s),
            bench.pool.health(),
            recoveries,
            bench.pace.fidelity,
        )
