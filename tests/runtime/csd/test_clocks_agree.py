"""Wall and virtual clock give the same commands the same times: what differs is who waits."""

from collections.abc import Sequence

import numpy as np
import pytest

from runtime.clock import Clock, VirtualClock, WallClock
from runtime.csd import Attend, Command, DriveQueue, Health, Read, Reclaim, Write

from .drives import configured, spec, tokens

# A page takes 0.1 ms, so that the wall clock waits some 20 ms in all.
FAST = spec(channel_bytes_per_s=640e3, t_read_s=0.2e-3, t_program_s=0.5e-3, t_erase_s=1e-3, command_s=0.1e-3)


def commands() -> Sequence[Command]:
    rng = np.random.default_rng(0)
    pair, query = tokens(rng, 2, 3, 2, 30, 4), tokens(rng, 3, 2, 4)
    return [
        Write(0, pair[0], pair[1], np.zeros(3, int)),
        Attend(0, query, pair[0, :, :, 0], pair[1, :, :, 0], np.full(3, 31), 0.5),
        Attend(0, query, pair[0, :, :, 1], pair[1, :, :, 1], np.full(3, 32), 0.5, window=8),
        Read(0),
        Reclaim(rows=np.array([1])),
        Write(0, pair[0, 1:2], pair[1, 1:2], np.zeros(1, int), rows=np.array([1])),
        Attend(0, query, None, None, np.array([32, 30, 32]), 0.5),
    ]


def ends(clock: Clock, starts: Sequence[float]) -> list[float]:
    """Returns when commands end that arrive at given times, before any of them is waited for."""
    with DriveQueue(configured(FAST), clock) as queue:
        return [queue.execute(c, s).end_s for c, s in zip(commands(), starts, strict=True)]


@pytest.mark.parametrize("gap_s", [0.0, 1e-3, 20e-3])
def test_commands_that_arrive_at_the_same_times_end_at_the_same_times(gap_s: float) -> None:
    starts = [gap_s * number for number in range(len(commands()))]
    virtual = ends(VirtualClock(), starts)
    assert ends(WallClock(), starts) == virtual
    assert virtual[-1] > 2e-3


def test_commands_one_after_the_other_take_as_long_on_both_clocks() -> None:
    """Each is submitted once the one before it is delivered; on the wall clock that is a little later than its end."""
    taken: list[list[float]] = []
    health = []
    for clock in (VirtualClock(), WallClock()):
        with DriveQueue(configured(FAST), clock) as queue:
            taken.append([])
            for command in commands():
                done = queue.submit(command, not_before_s=clock.now_s()).result()
                assert clock.now_s() >= done.end_s
                taken[-1].append(done.end_s - done.start_s)
            report = queue.submit(Health()).result().value
            health.append((report.channel_busy_s, report.program_busy_s, report.engine_busy_s))
    virtual, wall = taken
    # Work behind an answer, flushes and erases, may end while a wall clock is late; it never makes a command slower.
    assert all(w <= v + 1e-9 for v, w in zip(virtual, wall, strict=True))
    assert wall[:2] == pytest.approx(virtual[:2])
    assert health[0] == health[1]
