"""How the work of a step relates to the session's clock."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import jax

from runtime.clock import Clock, VirtualClock, WallClock


class Pace(Protocol):
    """What performing a step asks of time.

    Attributes:
        clock: The session's clock.
    """

    clock: Clock

    def throttles(self, emulated: bool) -> bool:
        """Tells whether a processor's time comes from its specification rather than from itself."""
        ...

    def settle(self, values: Any) -> None:
        """Returns when arrays have been computed, where that matters."""
        ...

    def finish(self, begin_s: float, end_s: float) -> float:
        """Returns when work that should take from ``begin_s`` to ``end_s`` is done."""
        ...

    def restart(self) -> None:
        """Forgets what was asked and taken so far."""
        ...

    @property
    def fidelity(self) -> float:
        """Seconds that throttled work should have taken over seconds that it took."""
        ...


class VirtualPace:
    """Takes every time from the mechanism; values are computed whenever."""

    def __init__(self) -> None:
        self.clock: Clock = VirtualClock()

    @property
    def fidelity(self) -> float:
        """Returns 1: nothing is ever late."""
        return 1.0

    def restart(self) -> None:
        """Does nothing."""

    def throttles(self, emulated: bool) -> bool:
        """Returns true: on this clock nothing runs at its own speed."""
        return True

    def settle(self, values: Any) -> None:
        """Returns at once."""

    def finish(self, begin_s: float, end_s: float) -> float:
        """Returns the mechanism's end."""
        return end_s


class WallPace:
    """Takes the later of the mechanism's end and the time at which the work is really done.

    Whoever needs a result waits until its end, so that a thread that wakes up a little late does not make the next
    step late.
    """

    def __init__(self) -> None:
        self.clock: Clock = WallClock()
        self._asked_s = 0.0
        self._taken_s = 0.0
        self._lock = threading.Lock()

    @property
    def fidelity(self) -> float:
        """Returns seconds asked over seconds taken, since the last restart."""
        return self._asked_s / self._taken_s if self._taken_s else 1.0

    def restart(self) -> None:
        """Forgets what was asked and taken so far."""
        with self._lock:
            self._asked_s = self._taken_s = 0.0

    def throttles(self, emulated: bool) -> bool:
        """Returns whether the processor is emulated; a real one runs as it can."""
        return emulated

    def settle(self, values: Any) -> None:
        """Blocks until the arrays are there."""
        jax.block_until_ready(values)

    def finish(self, begin_s: float, end_s: float) -> float:
        """Returns the later of ``end_s`` and now, and keeps account of the difference."""
        done_s = max(end_s, self.clock.now_s())
        with self._lock:
            self._asked_s += end_s - begin_s
            self._taken_s += done_s - begin_s
        return done_s


def make_pace(clock: str) -> Pace | None:
    """Returns the pace for a clock's name, None for an unknown one."""
    match clock:
        case "wall":
            return WallPace()
        case "virtual":
            return VirtualPace()
        case _:
            return None
