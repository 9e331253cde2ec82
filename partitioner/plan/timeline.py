"""When each resource did what: predicted by a plan, or measured by a run, in the same shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Event:
    """Records one use of one resource.

    Attributes:
        resource: A device (``gpu0``, ``csd1``) or a link direction (``csd1.up``).
        name: Segment or value.
        phase: ``prefill`` or ``decode``.
        start_s: Seconds since the start of the generation.
        end_s: Likewise.
        num_bytes: Bytes moved, or read from flash, 0 for compute.
    """

    resource: str
    name: str
    phase: str
    start_s: float
    end_s: float
    num_bytes: float = 0.0


@dataclass(frozen=True)
class Timeline:
    """Holds the events of a generation, or of one step of it.

    Attributes:
        events: The uses of resources.
        period_s: For one of many steps that overlap each other, the time from one step to the next.
    """

    events: tuple[Event, ...]
    period_s: float | None = None

    @property
    def end_s(self) -> float:
        """Returns the time of the last event's end, or the period of overlapping steps."""
        if self.period_s is not None:
            return self.period_s
        return max((e.end_s for e in self.events), default=0.0)

    def overlap_s(self, first: str, second: str, phase: str | None = None) -> float:
        """Returns the seconds in which resources of two kinds are in use at the same time.

        Where this is one of many steps that overlap each other, uses are folded into one period: the end of one step is at
        work beside the beginning of the next.

        Args:
            first: Kind of a device, such as ``gpu``: all of ``gpu0``, ``gpu1`` ... count.
            second: Another kind.
            phase: Of which phase; all by default.
        """
        spans = [
            _folded(
                [(e.start_s, e.end_s) for e in self._of(phase) if e.resource.rstrip("0123456789") == kind],
                self.period_s,
            )
            for kind in (first, second)
        ]
        return _covered(spans[0]) + _covered(spans[1]) - _covered(spans[0] + spans[1])

    def busy_s(self, phase: str | None = None) -> dict[str, float]:
        """Returns seconds in use per resource, in order of first use; uses that overlap count once."""
        spans: dict[str, list[tuple[float, float]]] = {}
        for e in self._of(phase):
            spans.setdefault(e.resource, []).append((e.start_s, e.end_s))
        return {resource: _covered(found) for resource, found in spans.items()}

    def moved_bytes(self, phase: str | None = None) -> dict[str, float]:
        """Returns bytes per resource, in order of first use."""
        total: dict[str, float] = {}
        for e in self._of(phase):
            total[e.resource] = total.get(e.resource, 0.0) + e.num_bytes
        return total

    def _of(self, phase: str | None) -> Iterable[Event]:
        return (e for e in self.events if phase is None or e.phase == phase)


def joined(events: Iterable[Event]) -> tuple[Event, ...]:
    """Returns events in which uses of a resource that follow each other without a gap, for the same thing, are one."""
    found: list[Event] = []
    last: dict[str, int] = {}
    for e in events:
        place = last.get(e.resource)
        before = found[place] if place is not None else None
        if place is not None and before is not None and _goes_on(before, e):
            found[place] = replace(before, end_s=e.end_s, num_bytes=before.num_bytes + e.num_bytes)
        else:
            last[e.resource] = len(found)
            found.append(e)
    return tuple(found)


def _goes_on(first: Event, second: Event) -> bool:
    same = (first.name, first.phase) == (second.name, second.phase)
    return same and first.num_bytes > 0 and first.end_s == second.start_s


def _covered(spans: list[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _folded(spans: list[tuple[float, float]], period_s: float | None) -> list[tuple[float, float]]:
    """Returns intervals modulo a period, those that pass its end cut in two."""
    if not period_s:
        return spans
    found: list[tuple[float, float]] = []
    for start, end in spans:
        left, at = min(end - start, period_s), start % period_s
        found.append((at, min(at + left, period_s)))
        found.append((0.0, max(0.0, at + left - period_s)))
    return found
