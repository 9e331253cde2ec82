"""What a generation does to each resource: seconds in use and bytes, predicted or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partitioner.plan.plan import Plan
from partitioner.plan.timeline import Timeline

_DECODE = "decode"


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

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {
            "busy_s": dict(self.busy_s),
            "link_bytes": dict(self.link_bytes),
            "flash_read_bytes": self.flash_read_bytes,
        }


def measured_usage(timeline: Timeline) -> Usage:
    """Returns what a run did."""
    return _usage(timeline.busy_s(), timeline.moved_bytes(), timeline.moved_bytes(_DECODE))


def predicted_usage(plan: Plan) -> Usage:
    """Returns what a plan expects of a generation: the prefill, then decode steps of growing context."""
    busy: dict[str, float] = {}
    moved: dict[str, float] = {}
    decode_moved: dict[str, float] = {}
    if plan.prefill is not None:
        prefill = plan.predicted_timeline("prefill")
        _add(busy, prefill.busy_s(), 1.0)
        _add(moved, prefill.moved_bytes(), 1.0)
    for context_len, steps in plan.workload.decode_contexts(with_prefill=plan.prefill is not None):
        step = plan.predicted_timeline(_DECODE, context_len)
        _add(busy, step.busy_s(), steps)
        _add(moved, step.moved_bytes(), steps)
        _add(decode_moved, step.moved_bytes(), steps)
    return _usage(busy, moved, decode_moved)


def _usage(busy: dict[str, float], moved: dict[str, float], decode_moved: dict[str, float]) -> Usage:
    links: dict[str, float] = {}
    for resource, num_bytes in moved.items():
        name, dot, direction = resource.partition(".")
        if dot:
            kind = f"{name.rstrip('0123456789')} {direction}"
            links[kind] = links.get(kind, 0.0) + num_bytes
    flash = sum(b for r, b in decode_moved.items() if r.startswith("csd") and "." not in r)
    return Usage(dict(sorted(busy.items())), dict(sorted(links.items())), flash)


def _add(total: dict[str, float], part: Mapping[str, float], factor: float) -> None:
    """Adds ``factor`` times the amounts of one mapping to another."""
    for key, amount in part.items():
        total[key] = total.get(key, 0.0) + factor * amount
