"""The links between tiers: which way bytes go, and how long links are in use."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from cost_models import HardwareSpec, Hop, path_kinds, route
from partitioner.plan.steps import PathKind

Tier = str
TIERS: tuple[Tier, ...] = ("gpu", "host", "csd")


@dataclass(frozen=True)
class TierLinks:
    """Answers what transfers between tiers take.

    Attributes:
        hw: The hardware.
        via_host: Send everything through host memory, as stacks without peer-to-peer transfers do.
    """

    hw: HardwareSpec
    via_host: bool = False

    @cached_property
    def drives(self) -> tuple[str, ...]:
        """Names the drives."""
        return tuple(f"csd{i}" for i in range(len(self.hw.drives)))

    def device(self, tier: Tier) -> str:
        """Returns the device that stands for a tier with one executor."""
        return "gpu0" if tier == "gpu" else tier

    def members(self, tier: Tier) -> tuple[str, ...]:
        """Returns the devices of a tier between which and others bytes move."""
        return self.drives if tier == "csd" else (self.device(tier),)

    def path(self, src: str, dst: str) -> PathKind:
        """Returns the way between two devices under this costing's rule."""
        kinds = path_kinds(self.hw, src, dst)
        if not kinds:
            return "local"
        return "via_host" if self.via_host or kinds[0] == "via_host" else "p2p"

    def hop_seconds(self, num_bytes: float, src: Tier, dst: Tier) -> dict[Hop, float]:
        """Returns how long each link is in use when bytes move between tiers, spread evenly over the drives."""
        loads: dict[Hop, float] = {}
        ways = self._ways(src, dst)
        for hops in ways:
            for hop, bytes_per_s in hops:
                seconds = num_bytes / len(ways) / bytes_per_s
                loads[hop] = loads.get(hop, 0.0) + seconds
        return loads

    def link_load(self, num_bytes: float, src: Tier, dst: Tier) -> dict[str, float]:
        """Returns the seconds in use of the busiest link of each kind and direction, such as ``csd.up``."""
        loads: dict[str, float] = {}
        for (link, direction), seconds in self.hop_seconds(num_bytes, src, dst).items():
            name = f"{link.rstrip('0123456789')}.{direction}"
            loads[name] = max(loads.get(name, 0.0), seconds)
        return loads

    def latency_s(self, src: Tier, dst: Tier) -> float:
        """Returns the latency of a transfer between tiers."""
        return sum((self.hw.link(hop[0]).latency_s for hop, _ in self._ways(src, dst)[0]), 0.0)

    def transfer_s(self, num_bytes: float, src: Tier, dst: Tier) -> float:
        """Returns the time in use of the busiest link, without latency."""
        return max(self.hop_seconds(num_bytes, src, dst).values(), default=0.0)

    def _ways(self, src: Tier, dst: Tier) -> tuple[tuple[tuple[Hop, float], ...], ...]:
        """Returns for every pair of devices of two tiers the links between them, each with its rate."""
        if (src, dst) not in self._known_ways:
            pairs = itertools.product(self.members(src), self.members(dst))
            self._known_ways[src, dst] = tuple(self._way(a, b) for a, b in pairs)
        return self._known_ways[src, dst]

    def _way(self, src: str, dst: str) -> tuple[tuple[Hop, float], ...]:
        path = self.path(src, dst)
        hops = () if path == "local" else route(self.hw, src, dst, path)
        return tuple((hop, self.hw.link(hop[0]).bytes_per_s) for hop in hops)

    @cached_property
    def _known_ways(self) -> dict[tuple[Tier, Tier], tuple[tuple[tuple[Hop, float], ...], ...]]:
        """Holds the ways that were asked for."""
        return {}
