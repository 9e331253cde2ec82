"""Clocks: real time, and time that only moves when somebody waits."""

import threading
import time
from typing import Protocol

# Below this, sleeping overshoots by as much as it waits (Linux wakes sleepers 50 us late by default), so the
# rest is waited out in place, letting other threads run.
SPIN_S = 0.3e-3


class Clock(Protocol):
    """What the runtime asks of a clock."""

    def now_s(self) -> float:
        """Returns the time in seconds since the clock was made."""
        ...

    def sleep_until(self, t_s: float) -> None:
        """Returns when the clock shows at least ``t_s``."""
        ...

    def arrival_s(self, not_before_s: float) -> float:
        """Returns when a command that is handed over now, and may start at ``not_before_s``, arrives."""
        ...

    def seconds_left(self, t_s: float) -> float | None:
        """Returns the real seconds until the clock shows ``t_s`` by itself, at least 0; None if it never does."""
        ...


class WallClock:
    """Real time since the clock was made."""

    def __init__(self) -> None:
        self._origin_s = time.perf_counter()

    def now_s(self) -> float:
        """Returns the seconds since the clock was made."""
        return time.perf_counter() - self._origin_s

    def sleep_until(self, t_s: float) -> None:
        """Sleeps until shortly before ``t_s``, then waits in place; late by a few microseconds at most."""
        while (left_s := t_s - self.now_s()) > 0.0:
            time.sleep(left_s - SPIN_S if left_s > SPIN_S else 0.0)

    def arrival_s(self, not_before_s: float) -> float:
        """Returns the later of now and ``not_before_s``."""
        return max(self.now_s(), not_before_s)

    def seconds_left(self, t_s: float) -> float | None:
        """Returns the seconds until ``t_s``, 0 where it has passed."""
        return max(0.0, t_s - self.now_s())


class VirtualClock:
    """Time as a number that waiting moves forward; nobody ever sleeps."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._lock = threading.Lock()

    def now_s(self) -> float:
        """Returns the latest time that anybody waited for, in seconds."""
        return self._now_s

    def sleep_until(self, t_s: float) -> None:
        """Moves the clock forward to ``t_s``; an earlier time leaves it as it is."""
        with self._lock:
            self._now_s = max(self._now_s, t_s)

    def arrival_s(self, not_before_s: float) -> float:
        """Returns ``not_before_s``: what other threads waited for must not delay an independent command."""
        return not_before_s

    def seconds_left(self, t_s: float) -> float | None:
        """Returns None: this clock moves with what is done alone, so nothing that takes real time is ever late."""
        return None
