"""The device or link that is in use longest, which limits how fast a plan can be."""

from __future__ import annotations

from dataclasses import dataclass

from partitioner.plan.names import device_span, tier_of
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.rows import split_resource


@dataclass(frozen=True)
class Busiest:
    """Names what is in use longest.

    Attributes:
        resource: One device or link direction: ``csd0``, ``gpu0.up``.
        span: All of its kind: ``csd0-3``.
        phase: The phase that takes longest, which this is about.
        use: Share of the decode step, or of the prefill, in which it is in use.
    """

    resource: str
    span: str
    phase: str
    use: float

    @property
    def is_link(self) -> bool:
        """Tells whether it is a link and not a device."""
        return bool(split_resource(self.resource)[1])


def busiest(figures: Figures) -> Busiest:
    """Returns the resource that is in use longest in the phase that takes longest."""
    plan = figures.plan
    phase = "prefill" if plan.prefill_seconds > plan.total_decode_seconds else "decode"
    timeline = figures.timeline(phase)
    busy = timeline.busy_s()
    longest = max(busy, key=lambda r: busy[r])
    device, direction = split_resource(longest)
    alike = [r for r in busy if tier_of(split_resource(r)[0]) == tier_of(device)]
    span = device_span(r for r in alike if split_resource(r)[1] == direction)
    return Busiest(longest, span, phase, busy[longest] / timeline.end_s)
