"""What a generation does to each resource: seconds in use and bytes, predicted or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partitioner.plan.timeline import Timeline


@dataclass(frozen=True)
class Usage:
    """Sums up a generation per resource.

    Attributes:
        busy_s: Seconds in use, by device (``gpu0``, ``csd1``) and link direction (``csd1.up``).
        link_bytes: Bytes that crossed, by kind of link and direction (``csd up``), equal links added up.
        flash_read_bytes: Bytes read from flash in decode steps.
    """

    busy_s: Mapping[str, float]
    link_bytes: Mapping[str, float]
    flash_read_bytes: float

    @property
    def kind_busy_s(self) -> dict[str, float]:
        """Returns seconds in use by kind of device (``csd``) and of link direction (``csd up``), equal ones added up."""
        total: dict[str, float] = {}
        for resource, seconds in self.busy_s.items():
            kind = kind_of(resource)
            total[kind] = total.get(kind, 0.0) + seconds
        return total

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {
            "busy_s": dict(self.busy_s),
            "link_bytes": dict(self.link_bytes),
            "flash_read_bytes": self.flash_read_bytes,
        }


def measured_usage(timeline: Timeline) -> Usage:
    """Returns what a run did."""
    return usage_of(timeline.busy_s(), timeline.moved_bytes(), timeline.moved_bytes("decode"))


def usage_of(
    busy_s: Mapping[str, float], moved_bytes: Mapping[str, float], decode_bytes: Mapping[str, float]
) -> Usage:
    """Returns sums per resource, links by kind and direction.

    Args:
        busy_s: Seconds in use per resource.
        moved_bytes: Bytes per resource.
        decode_bytes: The same of the decode steps alone.
    """
    links: dict[str, float] = {}
    for resource, num_bytes in moved_bytes.items():
        if "." in resource:
            kind = kind_of(resource)
            links[kind] = links.get(kind, 0.0) + num_bytes
    flash = sum(b for r, b in decode_bytes.items() if r.startswith("csd") and "." not in r)
    return Usage(dict(sorted(busy_s.items())), dict(sorted(links.items())), flash)


def kind_of(resource: str) -> str:
    """Returns the kind of a device (``csd1``: ``csd``) or of a link direction (``csd1.up``: ``csd up``)."""
    name, _, direction = resource.partition(".")
    return f"{name.rstrip('0123456789')} {direction}".strip()
