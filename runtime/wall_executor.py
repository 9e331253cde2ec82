"""Executes steps in lanes, each a thread for a device, a link direction or hand-overs, so that they overlap for real."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Sequence
from functools import partial

from runtime.clock import SPIN_S, Clock
from runtime.dataflow import Dataflow, ReadyStep
from runtime.errors import SessionError
from runtime.lane import Lane
from runtime.streams import Stream


class WallExecutor:
    """Hands every step to its lane (:attr:`runtime.program.Program.threads`) once its predecessors have ended, by the clock.

    A lane serves steps that are ready by priority, so one that waits holds up no other. What happens between frames, such as
    the choice of the next token, happens in the caller's thread. A failure or an interrupt cancels what has not begun and
    waits for what has, so that nothing is under way afterwards.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def run(self, streams: Sequence[Stream], origin_s: float) -> float:
        """Performs all frames of all streams; see :meth:`Executor.run`.

        Raises:
            SessionError: A step failed; names the first one. The others were cancelled.
        """
        if not streams:
            return origin_s
        clock = streams[0].runner.clock
        for name in dict.fromkeys(name for stream in streams for name in stream.runner.program.threads):
            if name not in self._lanes:
                self._lanes[name] = Lane(name, clock)
        try:
            end_s = _Job(streams, self._lanes, clock).run(origin_s)
            clock.sleep_until(end_s)
        except BaseException:
            self.close()
            raise
        return end_s

    def close(self) -> None:
        """Ends the lanes; the next run opens new ones. Closing twice does nothing."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            lane.stop()
        for lane in lanes.values():
            lane.join()


class _Job:
    """Performs the frames of one call."""

    def __init__(self, streams: Sequence[Stream], lanes: dict[str, Lane], clock: Clock) -> None:
        self._flows = [Dataflow(stream, number) for number, stream in enumerate(streams)]
        self._lanes, self._clock = lanes, clock
        self._lock = threading.Lock()
        self._news: queue.SimpleQueue[int | SessionError] = queue.SimpleQueue()
        self._due: list[tuple[float, int]] = []

    def run(self, origin_s: float) -> float:
        """Runs all streams to their ends, and returns when the last one is there."""
        self._due = [(origin_s, number) for number in range(len(self._flows))]
        num_running = 0
        while True:
            while self._due and self._due[0][0] <= self._clock.now_s():
                now_s, number = heapq.heappop(self._due)
                num_running += self._advance(number, now_s)
            if not self._due and not num_running:
                break
            news = self._wait()
            if isinstance(news, SessionError):
                raise news from news.__cause__
            if news is not None:
                num_running -= 1
                heapq.heappush(self._due, (self._flows[news].end_s, news))
        return max(flow.end_s for flow in self._flows)

    def _advance(self, number: int, now_s: float) -> bool:
        """Begins a stream's next frames; tells whether there are any."""
        found = self._flows[number].advance(now_s)
        self._submit(number, found)
        return bool(found)

    def _wait(self) -> int | SessionError | None:
        """Waits until a stream's frames have ended or a step has failed; None once a stream is due to go on."""
        try:
            if not self._due:
                return self._news.get()
            left_s = self._due[0][0] - self._clock.now_s()
            return self._news.get(timeout=left_s - SPIN_S) if left_s > SPIN_S else self._news.get_nowait()
        except queue.Empty:
            self._clock.sleep_until(self._due[0][0])
            return None

    def _submit(self, number: int, found: Sequence[ReadyStep]) -> None:
        for ready in found:
            self._lanes[ready.thread].submit(
                partial(self._perform, number, ready), ready.ready_s, ready.priority
            )

    def _perform(self, number: int, ready: ReadyStep) -> None:
        try:
            end_s = ready.perform()
        except BaseException as error:  # the caller must hear of it, whatever it is
            self._news.put(ready.error(error))
            return
        rest = ready.rest(end_s)
        if rest is not None:
            self._submit(number, [rest])
            return
        flow = self._flows[number]
        with self._lock:
            found = flow.end(ready, end_s)
            has_ended = flow.has_ended
        self._submit(number, found)
        if has_ended:
            self._news.put(number)
