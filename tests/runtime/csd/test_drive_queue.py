import threading
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from runtime.clock import VirtualClock, WallClock
from runtime.csd import Attend, DriveError, DriveQueue, Health, Identify, Read, Write
from runtime.csd.drive import Drive

from .drives import SPEC, configured, spec, tokens


def test_commands_run_in_order_and_overlap_the_submitter() -> None:
    drive, clock, rng = configured(batch_size=1), VirtualClock(), np.random.default_rng(0)
    key = tokens(rng, 1, 2, 40, 4)
    with DriveQueue(drive, clock) as queue:
        writes = [
            queue.submit(Write(0, key[:, :, t : t + 1], key[:, :, t : t + 1], np.array([t])))
            for t in range(40)
        ]
        read = queue.submit(Read(0), not_before_s=50.0).result()
    assert all(write.done() for write in writes)
    assert (read.value[0] == key).all()
    assert read.start_s == 50.0
    assert clock.now_s() == read.end_s > 50.0


def test_a_virtual_clock_that_others_moved_does_not_delay_a_command() -> None:
    clock = VirtualClock()
    clock.sleep_until(100.0)
    with DriveQueue(configured(), clock) as queue:
        assert queue.submit(Identify(), not_before_s=2.0).result().end_s == 2.0


def test_errors_come_through_the_future_and_the_queue_goes_on() -> None:
    with DriveQueue(Drive(SPEC), VirtualClock()) as queue:
        bad, good = queue.submit(Read(0)), queue.submit(Identify())
        with pytest.raises(DriveError, match="csd0: no KV cache is configured"):
            bad.result()
        assert good.result().value.name == "csd0"


def test_close_finishes_what_was_submitted_and_refuses_more() -> None:
    queue = DriveQueue(configured(), VirtualClock())
    futures = [queue.submit(Health()) for _ in range(50)]
    queue.close()
    queue.close()
    assert all(future.done() for future in futures)
    with pytest.raises(DriveError, match="csd0: the queue is closed; open a new DriveQueue on the drive"):
        queue.submit(Health())


def test_a_command_can_be_cancelled_while_it_waits() -> None:
    class Gate(VirtualClock):
        def __init__(self) -> None:
            super().__init__()
            self.open = threading.Event()

        def sleep_until(self, t_s: float) -> None:
            self.open.wait(10.0)

    clock = Gate()
    with DriveQueue(configured(), clock) as queue:
        first, second, third = (queue.submit(Identify()) for _ in range(3))
        assert second.cancel()
        clock.open.set()
        assert first.result().value.name == third.result().value.name == "csd0"
        with pytest.raises(CancelledError):
            second.result()


def test_wall_clock_results_come_no_earlier_than_the_drive_would_deliver() -> None:
    drive, rng = configured(spec(command_s=5e-3), batch_size=1), np.random.default_rng(0)
    key: Any = tokens(rng, 1, 2, 8, 4)
    drive.execute(Write(0, key, key, np.array([0])), 0.0)
    clock = WallClock()
    with DriveQueue(drive, clock) as queue:
        before_s = clock.now_s()
        done = queue.submit(Attend(0, key[:, :, 0], None, None, np.array([8]), 0.5)).result()
        assert clock.now_s() >= done.end_s
        assert done.end_s - done.start_s >= 5e-3
        assert done.start_s >= before_s
