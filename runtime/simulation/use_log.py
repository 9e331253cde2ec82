"""What each frame of a simulation asked of each resource, summed up as it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.event_log import EventLog
from runtime.frame import Frame


@dataclass
class Use:
    """Sums up what some steps ask of resources.

    Attributes:
        busy_s: Seconds in use, by device (``gpu0``, ``csd1``) and link direction (``csd1.up``); uses that overlap count once.
        num_bytes: Bytes that crossed a link, or were read from flash or programmed.
    """

    busy_s: dict[str, float] = field(default_factory=dict)
    num_bytes: dict[str, float] = field(default_factory=dict)

    def add(self, resource: str, seconds: float, num_bytes: float) -> None:
        """Adds one use of a resource."""
        self.busy_s[resource] = self.busy_s.get(resource, 0.0) + seconds
        self.num_bytes[resource] = self.num_bytes.get(resource, 0.0) + num_bytes

    def add_all(self, other: Use, times: float) -> None:
        """Adds what other steps ask, a number of times."""
        for resource, seconds in other.busy_s.items():
            self.add(resource, times * seconds, times * other.num_bytes[resource])


@dataclass(frozen=True, eq=False)
class TimedUse:
    """Tells what a part of a generation took.

    Attributes:
        seconds: From the end of what came before it to its own.
        use: Of each resource.
    """

    seconds: float
    use: Use


class UseLog(EventLog):
    """Keeps events by frame, and as events where a timeline is wanted.

    Attributes:
        keeps_events: Whether to keep them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keeps_events = False
        self._frame: Frame | None = None
        self._spans: dict[str, list[tuple[float, float, float, Frame]]] = {}

    def begin(self, frame: Frame) -> None:
        """Lets what comes next count for a frame."""
        self._frame = frame

    def add(
        self, resource: str, name: str, phase: str, start_s: float, end_s: float, num_bytes: float = 0.0
    ) -> None:
        """Adds one use of a resource, in seconds of the simulation's clock."""
        assert self._frame is not None
        self._spans.setdefault(resource, []).append((start_s, end_s, num_bytes, self._frame))
        if self.keeps_events:
            super().add(resource, name, phase, start_s, end_s, num_bytes)

    def take_uses(self) -> Mapping[Frame, Use]:
        """Returns what each frame asked for so far, and forgets it; where uses overlap, the earlier one has the time."""
        uses: dict[Frame, Use] = {}
        for resource, spans in self._spans.items():
            reached_s = 0.0
            for start_s, end_s, num_bytes, frame in sorted(spans, key=_begin_s):
                covered_s = max(0.0, end_s - max(start_s, reached_s))
                reached_s = max(reached_s, end_s)
                uses.setdefault(frame, Use()).add(resource, covered_s, num_bytes)
        self._spans = {}
        return uses


def _begin_s(span: tuple[float, float, float, Frame]) -> float:
    return span[0]
