"""Times transfers over links, from lane to lane as a session's steps go, by the wall clock."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from benchmarks.fidelity.bars import TOGETHER_TOLERANCE, Held
from cost_models import HardwareSpec
from cost_models.links import Hop, route
from runtime.clock import WallClock
from runtime.event_log import EventLog
from runtime.lane import Lane
from runtime.links import Links

TRANSFER_BYTES = 3.5e6
"""100 ms on the demo's drive link, 35 MB/s."""


class TimedTransfers:
    """Sends from the first drive to the GPU.

    Args:
        hw: The system.
        repeats: How often each is timed, after once that does not count.
    """

    def __init__(self, hw: HardwareSpec, repeats: int) -> None:
        self._clock = WallClock()
        self._links = Links(hw, EventLog())
        self._hops: tuple[Hop, ...] = route(hw, "csd0", "gpu0", "p2p" if hw.p2p else "via_host")
        self._sender, self._receiver = Lane("link", self._clock), Lane("gpu0", self._clock)
        self._repeats = repeats

    def held(self) -> Sequence[Held]:
        """Times one transfer against what the mechanism asks, and two at once against twice one, in turns."""
        asked, one, two = [], [], []
        for _ in range(self._repeats + 1):
            asked_s, took_s = self._time(1)
            asked.append(asked_s)
            one.append(took_s)
            two.append(self._time(2)[1])
        return (
            Held("transfer", tuple(asked[1:]), tuple(one[1:])),
            Held(
                "2 transfers on one link / 2",
                tuple(one[1:]),
                tuple(t / 2 for t in two[1:]),
                TOGETHER_TOLERANCE,
            ),
        )

    def close(self) -> None:
        """Ends the threads."""
        for lane in (self._sender, self._receiver):
            lane.stop()
            lane.join()

    def _time(self, count: int) -> tuple[float, float]:
        """Returns the seconds that transfers at once ask for, and those until who waits for the last one runs."""
        begin_s = self._clock.now_s()
        ends: list[float] = []
        arrivals: list[float] = []
        all_there = threading.Event()

        def arrive() -> None:
            arrivals.append(self._clock.now_s())
            if len(arrivals) == count:
                all_there.set()

        def send() -> None:
            transfer = self._links.transfer(self._hops, TRANSFER_BYTES, begin_s, "cache", "decode")
            ends.append(transfer.end_s)
            self._receiver.submit(arrive, transfer.end_s, (0,))

        for _ in range(count):
            self._sender.submit(send, begin_s, (0,))
        all_there.wait()
        return max(ends) - begin_s, max(arrivals) - begin_s
