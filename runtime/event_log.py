"""Collects what each resource did when."""

from __future__ import annotations

import threading

from partitioner.plan.timeline import Event, Timeline, joined


class EventLog:
    """Takes events from any thread."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def add(
        self, resource: str, name: str, phase: str, start_s: float, end_s: float, num_bytes: float = 0.0
    ) -> None:
        """Adds one use of a resource, in seconds of the session's clock."""
        event = Event(resource, name, phase, start_s, end_s, num_bytes)
        with self._lock:
            self._events.append(event)

    def take(self, origin_s: float) -> Timeline:
        """Returns the events so far and forgets them.

        They are counted from ``origin_s``, in order of their start and without the seams between parts.
        """
        with self._lock:
            events, self._events = self._events, []
        moved = [
            Event(e.resource, e.name, e.phase, e.start_s - origin_s, e.end_s - origin_s, e.num_bytes)
            for e in events
        ]
        return Timeline(joined(sorted(moved, key=lambda e: (e.start_s, e.end_s, e.resource))))
