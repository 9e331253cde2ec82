"""Executes steps one after the other; time is what the mechanism says."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from runtime.dataflow import Dataflow, ReadyStep
from runtime.streams import Stream

_Event = tuple[float, tuple[int, ...], int, int, ReadyStep | None]
"""When it happens, its rank among those of the same time, a tie-break, the stream, and the step (None: the stream goes on)."""


class VirtualExecutor:
    """Performs steps in the order in which they become ready, which is also the order in which resources serve them.

    Steps that are ready at the same time go by priority.
    """

    def run(self, streams: Sequence[Stream], origin_s: float) -> float:
        """Performs all frames of all streams; see :meth:`Executor.run`."""
        flows = [Dataflow(stream, number) for number, stream in enumerate(streams)]
        events: list[_Event] = []
        count = 0

        def add(number: int, found: Sequence[ReadyStep]) -> None:
            nonlocal count
            for ready in found:
                count += 1
                heapq.heappush(events, (ready.ready_s, ready.priority, count, number, ready))

        for number, flow in enumerate(flows):
            add(number, flow.advance(origin_s))
        while events:
            now_s, _, _, number, ready = heapq.heappop(events)
            flow = flows[number]
            if ready is None:
                add(number, flow.advance(now_s))
                continue
            try:
                end_s = ready.perform()
            except Exception as error:
                raise ready.error(error) from error
            rest = ready.rest(end_s)
            if rest is not None:
                add(number, [rest])
                continue
            add(number, flow.end(ready, end_s))
            if flow.has_ended:
                count += 1
                heapq.heappush(events, (flow.end_s, (), count, number, None))
        last_s = max((flow.end_s for flow in flows), default=origin_s)
        for stream in streams[:1]:
            stream.runner.clock.sleep_until(last_s)
        return last_s

    def close(self) -> None:
        """Does nothing: there are no threads."""
