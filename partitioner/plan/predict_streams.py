"""Predicts the decode steps of micro-batches that overlap: when a step is ready, its resource takes it in that order."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

from partitioner.plan.predict import ResourceClock
from partitioner.plan.step_demands import StepDemands
from partitioner.plan.timeline import Event, Timeline, joined

_WARM_UP = 2
"""Tokens after which the micro-batches have found their rhythm."""
_COUNTED = 3
"""Tokens over which the period is taken."""


def schedule_streams(
    demands: StepDemands, context_len: int, num_streams: int, *, recorded: bool = True
) -> Timeline:
    """Returns the timeline of one token of every micro-batch, in the middle of many.

    A micro-batch begins its next token when it has ended the last; different ones share resources alone, each of which takes
    what is ready first.

    Args:
        demands: Of the phase's steps.
        context_len: Tokens attended over.
        num_streams: Micro-batches.
        recorded: Whether the timeline has events, or its period alone.
    """
    followers, waiting, num_parts = demands.order.followers, demands.order.waiting, demands.order.num_parts
    asked, size = demands.at(context_len), len(demands.steps)
    names = demands.names if recorded else [""] * size
    clock = ResourceClock(demands.phase, recorded=recorded)
    counted: list[Event] = []
    token_ends: list[list[float]] = [[] for _ in range(num_streams)]
    ready: list[tuple[float, int, int, int]] = []
    left = [list(waiting) for _ in range(num_streams)]
    since = [[0.0] * size for _ in range(num_streams)]
    open_steps = [size] * num_streams

    def begin(stream: int, now: float) -> None:
        left[stream][:] = waiting
        since[stream][:] = [now] * size
        open_steps[stream] = size
        for number, count in enumerate(waiting):
            if not count:
                heapq.heappush(ready, (now, number, stream, 0))

    for stream in range(num_streams):
        begin(stream, 0.0)
    while ready:
        start, number, stream, part = heapq.heappop(ready)
        first_event = len(clock.events)
        until = ready[0][0] if ready else math.inf
        end, part = clock.perform(asked[number], names[number], start, part, num_parts[number], until)
        if len(token_ends[stream]) == _WARM_UP:
            counted += clock.events[first_event:]
        if part < num_parts[number]:
            heapq.heappush(ready, (end, number, stream, part))
            continue
        for following in followers[number]:
            since[stream][following] = max(since[stream][following], end)
            left[stream][following] -= 1
            if not left[stream][following]:
                heapq.heappush(ready, (since[stream][following], following, stream, 0))
        open_steps[stream] -= 1
        since[stream][number] = end
        if not open_steps[stream]:
            token_ends[stream].append(max(since[stream]))
            if len(token_ends[stream]) < _WARM_UP + _COUNTED:
                begin(stream, token_ends[stream][-1])
    first, last = (max(ends[n] for ends in token_ends) for n in (_WARM_UP - 1, _WARM_UP + _COUNTED - 1))
    origin = min((e.start_s for e in counted), default=0.0)
    events = [replace(e, start_s=e.start_s - origin, end_s=e.end_s - origin) for e in counted]
    return Timeline(joined(events), (last - first) / _COUNTED)
