"""What faults of drives cost a session, and which drives it gives up."""

from __future__ import annotations

from collections.abc import Callable

from runtime.csd import DriveError, MediaError
from runtime.installed_plan import Workbench
from runtime.recovery import Recovery

_MOST_WITHOUT_PROGRESS = 3
"""Faults of a drive without a new token in between after which it is given up even if it answers."""


class FaultAccount:
    """Keeps account of faults: each is opened when it is met, and closed when what it lost is there again.

    Args:
        bench: Has the drives.

    Attributes:
        recoveries: Faults that are closed, times in seconds of the session's clock.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._pending: Callable[[float], Recovery] | None = None
        self._without_progress = 0
        self.recoveries: list[Recovery] = []

    @property
    def is_open(self) -> bool:
        """Tells whether there is a fault whose losses are not there again."""
        return self._pending is not None

    @property
    def is_clean(self) -> bool:
        """Tells whether there was no fault at all."""
        return not self.recoveries and self._pending is None

    def open(self, fault: DriveError, at_s: float, num_tokens: int) -> None:
        """Notes a fault, and gives up its drive if that does not work any more.

        Args:
            fault: What was met.
            at_s: When the step that failed could begin.
            num_tokens: Tokens whose K and V have to be made again.
        """
        assert fault.drive is not None
        given_up = not isinstance(fault, MediaError) or self._without_progress >= _MOST_WITHOUT_PROGRESS
        if given_up:
            self._bench.pool.give_up(fault.drive)
            self._without_progress = 0
        self.close(at_s)
        drive, said = fault.drive, f"{type(fault).__name__}: {fault}"
        self._pending = lambda resumed_s: Recovery(drive, said, given_up, at_s, resumed_s, num_tokens)

    def close(self, resumed_s: float) -> None:
        """Closes the account of the last fault, if one is open."""
        if self._pending is not None:
            self.recoveries.append(self._pending(resumed_s))
            self._pending = None

    def note_progress(self, *, any_token: bool) -> None:
        """Notes whether there was a new token since the fault before."""
        self._without_progress = 0 if any_token else self._without_progress + 1
