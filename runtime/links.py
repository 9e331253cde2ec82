"""Emulates the links of a system: each direction of each is a resource of its own."""

from __future__ import annotations

from dataclasses import dataclass

from cost_models.hardware import HardwareSpec
from cost_models.links import Hop
from runtime.busy import BusyUntil
from runtime.event_log import EventLog


@dataclass(frozen=True)
class Transfer:
    """Says when a transfer happens.

    Attributes:
        begin_s: When its first link takes the first byte.
        arrival_s: When the first byte has arrived.
        end_s: When the last byte has arrived.
        free_s: When the last link is free again.
    """

    begin_s: float
    arrival_s: float
    end_s: float
    free_s: float


class Links:
    """Holds a busy-until time per link direction.

    A transfer is cut into chunks that follow one another through the links of its route, so it uses all of them side by
    side, each for bytes / rate, behind whatever was there first; it ends with the slowest, plus the latencies.
    """

    def __init__(self, hw: HardwareSpec, log: EventLog) -> None:
        self._specs = {link.name: link for link in hw.links}
        self._lanes = {
            (link.name, direction): BusyUntil(f"{link.name}.{direction}")
            for link in hw.links
            for direction in ("up", "down")
        }
        self._log = log

    def transfer(
        self, hops: tuple[Hop, ...], num_bytes: float, start_s: float, name: str, phase: str
    ) -> Transfer:
        """Reserves the links of a route and logs their use.

        Args:
            hops: Links to pass, in order; none within a device.
            num_bytes: What crosses; nothing takes no time.
            start_s: Earliest begin.
            name: What is moved.
            phase: ``prefill`` or ``decode``.
        """
        if not hops or not num_bytes:
            return Transfer(start_s, start_s, start_s, start_s)
        begins: list[float] = []
        ends: list[float] = []
        for hop in hops:
            lane = self._lanes[hop]
            begin_s, end_s = lane.reserve(start_s, num_bytes / self._specs[hop[0]].bytes_per_s)
            self._log.add(lane.name, name, phase, begin_s, end_s, num_bytes)
            begins.append(begin_s)
            ends.append(end_s)
        latency_s = sum(self._specs[link].latency_s for link, _ in hops)
        return Transfer(begins[0], max(begins) + latency_s, max(ends) + latency_s, max(ends))
