"""A thread that serves what is ready, the most urgent first."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from runtime.clock import SPIN_S, Clock

Priority = tuple[int, ...]


class Lane:
    """Runs actions one at a time: of those whose time has come, the one of the lowest priority number first.

    Args:
        name: Of the resource; its thread is called ``lane-`` and this.
        clock: Says what time has come.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        self._later: list[tuple[float, int, Priority, Callable[[], None]]] = []
        self._now: list[tuple[Priority, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._news = threading.Condition()
        self._has_news = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"lane-{name}", daemon=True)
        self._thread.start()

    def submit(self, action: Callable[[], None], ready_s: float, priority: Priority) -> None:
        """Lets an action run once the clock shows ``ready_s``; a closed lane ignores it."""
        with self._news:
            if not self._closed:
                heapq.heappush(self._later, (ready_s, next(self._count), priority, action))
                self._has_news = True
                self._news.notify()

    def stop(self) -> None:
        """Forgets what has not begun; the thread ends with what has."""
        with self._news:
            self._closed = True
            self._later.clear()
            self._now.clear()
            self._has_news = True
            self._news.notify()

    def join(self) -> None:
        """Returns when the thread of a stopped lane has ended."""
        self._thread.join()

    def _work(self) -> None:
        while (action := self._next()) is not None:
            action()

    def _next(self) -> Callable[[], None] | None:
        """Waits for the next action; None once the lane is stopped."""
        while True:
            with self._news:
                self._has_news = False
                now_s = self._clock.now_s()
                while self._later and self._later[0][0] <= now_s:
                    _, count, priority, action = heapq.heappop(self._later)
                    heapq.heappush(self._now, (priority, count, action))
                if self._now:
                    return heapq.heappop(self._now)[-1]
                if self._closed:
                    return None
                due_s = self._later[0][0] if self._later else None
                if due_s is None or due_s - now_s > SPIN_S:
                    self._news.wait(None if due_s is None else due_s - now_s - SPIN_S)
                    continue
            while not self._has_news and self._clock.now_s() < due_s:
                time.sleep(0.0)
