"""What a whole generation is predicted to ask of each resource: seconds in use and bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from partitioner.plan.timeline import Timeline

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


def predicted_busy(plan: Plan) -> dict[str, float]:
    """Returns the seconds each resource is in use over the generation, prefill and all decode steps.

    Resources are devices (``gpu0``, ``csd1``) and link directions (``csd1.up``), as in a timeline.
    """
    return sum_over(weighted_timelines(plan), bytes_wanted=False)


def predicted_bytes(plan: Plan) -> dict[str, float]:
    """Returns the bytes that cross each link direction, or are read from and written to each drive's flash."""
    return sum_over(weighted_timelines(plan), bytes_wanted=True)


def weighted_timelines(plan: Plan) -> tuple[tuple[Timeline, float], ...]:
    """Returns timelines and how often each occurs in the generation: the prefill, and decode steps by context."""
    prefill = ((plan.prefill_timeline, 1.0),) if plan.prefill else ()
    return (*prefill, *plan.decode_timelines)


def sum_over(timelines: Iterable[tuple[Timeline, float]], *, bytes_wanted: bool) -> dict[str, float]:
    """Returns seconds or bytes per resource over timelines that occur a number of times."""
    total: dict[str, float] = {}
    for timeline, times in timelines:
        part = timeline.moved_bytes() if bytes_wanted else timeline.busy_s()
        for resource, amount in part.items():
            total[resource] = total.get(resource, 0.0) + times * amount
    return total
