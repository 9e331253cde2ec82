"""How busy the parts of a drive are."""

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.busy import BusyUntil
from runtime.csd.throttle import Throttle


@dataclass(frozen=True)
class BusyShares:
    """Shares of the time since a cache was last configured in which parts of a drive were in use, from 0 to 1.

    Attributes:
        elapsed_s: Emulated seconds since then, until now or until the last part is done with what it was given, whichever
            is later.
        channels: Of the wires of each channel.
        planes: Of the planes behind each channel, by programs and erases.
        engine: Of the engine.
    """

    elapsed_s: float
    channels: tuple[float, ...]
    planes: tuple[float, ...]
    engine: float


class BusyMeter:
    """Reads busy seconds since a point in time off a throttle."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self.restart(0.0)

    def restart(self, at_s: float) -> None:
        """Counts what is asked for from now on, and the time from ``at_s``."""
        self._since_s = at_s
        self._before = {part.name: part.busy_s for part in self._parts()}

    def read(self, now_s: float) -> BusyShares:
        """Returns the shares until ``now_s``, or later where more is under way."""
        until_s = max(now_s, *(part.free_s for part in self._parts()))
        elapsed_s = max(0.0, until_s - self._since_s)

        def share(part: BusyUntil) -> float:
            return (part.busy_s - self._before[part.name]) / elapsed_s if elapsed_s else 0.0

        throttle = self._throttle
        return BusyShares(
            elapsed_s=elapsed_s,
            channels=tuple(map(share, throttle.channels)),
            planes=tuple(map(share, throttle.planes)),
            engine=share(throttle.engine),
        )

    def _parts(self) -> Iterable[BusyUntil]:
        return (*self._throttle.channels, *self._throttle.planes, self._throttle.engine)
