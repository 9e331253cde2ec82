"""A resource that serves one request at a time."""

import threading


class BusyUntil:
    """A first-come, first-served resource: a flash channel, a link direction, an engine.

    Attributes:
        name: What the resource is called in timelines.
        busy_s: Seconds reserved so far.
        count: Reservations so far.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy_s = 0.0
        self.count = 0
        self._free_s = 0.0
        self._lock = threading.Lock()

    @property
    def free_s(self) -> float:
        """When the last reservation ends."""
        return self._free_s

    def reserve(self, start_s: float, seconds: float) -> tuple[float, float]:
        """Reserves the resource behind everything that is reserved already.

        Args:
            start_s: Earliest begin.
            seconds: How long the resource is needed.

        Returns:
            When the reservation begins and ends, in seconds.

        Raises:
            ValueError: ``seconds`` is negative or not finite.
        """
        if not 0.0 <= seconds < float("inf"):
            raise ValueError(f"{self.name}: cannot reserve {seconds} s; give a finite time of at least 0 s")
        with self._lock:
            begin_s = max(start_s, self._free_s)
            self._free_s = begin_s + seconds
            self.busy_s += seconds
            self.count += 1
            return begin_s, self._free_s
