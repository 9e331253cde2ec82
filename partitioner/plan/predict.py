"""Predicts when each resource does what, by scheduling a plan's steps with closed-form costs."""

from __future__ import annotations

import math

from partitioner.plan.ready_steps import ReadySteps
from partitioner.plan.step_demands import Demand, StepDemands
from partitioner.plan.timeline import Event, Timeline, joined


class ResourceClock:
    """Keeps when each resource is free; it serves uses in the order in which they are asked for.

    Args:
        phase: Of the steps.
        recorded: Whether uses are kept, or their last end alone.

    Attributes:
        events: The uses of resources, if they are kept.
        end_s: When the last use ends.
    """

    def __init__(self, phase: str, *, recorded: bool) -> None:
        self.events: list[Event] = []
        self.end_s = 0.0
        self._free: dict[str, float] = {}
        self._phase, self._recorded = phase, recorded

    def perform(
        self, demand: Demand, name: str, start: float, part: int, num_parts: int, until: float
    ) -> tuple[float, int]:
        """Puts a step on its resources, from ``start`` on or once they are free.

        Args:
            demand: What it asks of them.
            name: What its events are called.
            start: When it is ready.
            part: Which part of it.
            num_parts: Its parts.
            until: Parts that would begin later are left for another time.

        Returns:
            When that ends, and the part that comes next.
        """
        free = self._free
        if num_parts > 1:
            return self._perform_parts(demand, name, start, part, num_parts, until)
        uses, latency_s, delay_s, holds, _ = demand
        if holds is not None:
            start = max(start, free.get(holds, 0.0))
        end = start
        start += delay_s
        for resource, seconds, size, lead in uses:
            begin = free.get(resource, 0.0)
            begin = start if begin < start else begin
            done = free[resource] = begin + seconds
            if self._recorded:
                self.events.append(Event(resource, name, self._phase, begin - lead, done, size))
            end = done if done > end else end
        if uses and end > self.end_s:
            self.end_s = end
        end += latency_s
        if holds is not None:
            free[holds] = max(free.get(holds, 0.0), end)
        return end, 1

    def _perform_parts(
        self, demand: Demand, name: str, start: float, part: int, num_parts: int, until: float
    ) -> tuple[float, int]:
        """Puts those parts of a step on its resources, one behind the other, that begin before another one is ready."""
        free = self._free
        uses, latency_s, _, _, rates = demand
        if not uses:
            return start, num_parts
        begin = start
        for resource, _, _, _ in uses:
            since = free.get(resource, 0.0)
            begin = since if since > begin else begin
        seconds = uses[0].size / min(rates)
        left = num_parts - part
        count = left if begin + left * seconds <= until else max(1, math.ceil((until - begin) / seconds))
        end = start
        for (resource, _, size, _), rate in zip(uses, rates, strict=True):
            begin = free.get(resource, 0.0)
            begin = start if begin < start else begin
            done = free[resource] = begin + size * count / rate
            if self._recorded:
                self.events.append(Event(resource, name, self._phase, begin, done, size * count))
            end = done if done > end else end
        self.end_s = max(self.end_s, end)
        part += count
        return (end + latency_s if part == num_parts else end), part


def schedule(demands: StepDemands, context_len: int, repeat: int = 1) -> Timeline:
    """Returns the timeline of a phase's steps.

    A step is ready when those it waits for have ended, and a resource serves steps in the order in which they are ready; of
    those ready at the same time the first in plan order. A transfer uses every link of its route for bytes / rate and ends with
    the slowest, plus the latencies; what is read from or written to flash for it uses the drive at the same time. Weights are
    streamed in parts, so that other transfers wait for one part at most.

    Args:
        demands: Of the phase's steps.
        context_len: Tokens attended over; in a prefill the tokens of a prompt, padding left aside.
        repeat: Times the steps are run, one behind the other (slices of a prefill): each passes every resource after the last.
    """
    return Timeline(joined(_scheduled(demands, context_len, repeat, recorded=True).events))


def schedule_end_s(demands: StepDemands, context_len: int, repeat: int = 1) -> float:
    """Returns when the timeline of a phase's steps ends (see ``schedule``)."""
    return _scheduled(demands, context_len, repeat, recorded=False).end_s


def _scheduled(demands: StepDemands, context_len: int, repeat: int, *, recorded: bool) -> ResourceClock:
    clock = ResourceClock(demands.phase, recorded=recorded)
    asked, num_parts = demands.at(context_len), demands.order.num_parts
    names = demands.names if recorded else [""] * len(asked)
    queue = ReadySteps(demands.order, demands.lanes, repeat)
    while (ready := queue.take()) is not None:
        start, turn, n, part = ready
        until = queue.next_s if num_parts[n] > 1 else math.inf
        end, part = clock.perform(asked[n], names[n], start, part, num_parts[n], until)
        queue.end(turn, n, part, end)
    return clock
