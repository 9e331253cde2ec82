"""A drive that does not answer: whoever waits hears of it in time, by the clock, and the queue goes on."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pytest

from cost_models.hardware import FaultSpec
from runtime.clock import Clock, VirtualClock, WallClock
from runtime.csd import (
    Command,
    Completion,
    Configure,
    Drive,
    DriveError,
    DriveQueue,
    DriveTimeout,
    Health,
    Identify,
)

from .drives import SPEC, spec

SLOW = spec(command_s=50.0)
"""Every command takes 50 s."""


class DeadDrive(Drive):
    """Answers nothing but health."""

    def execute(self, command: Command, start_s: float) -> Completion:
        completion = super().execute(command, start_s)
        return (
            completion if isinstance(command, Health) else dataclasses.replace(completion, end_s=float("inf"))
        )


class SerialDrive(Drive):
    """Needs 50 s for each command, one after the other."""

    end_s = 0.0

    def execute(self, command: Command, start_s: float) -> Completion:
        self.end_s = max(self.end_s, start_s) + 50.0
        return dataclasses.replace(super().execute(command, start_s), end_s=self.end_s)


class StuckDrive(Drive):
    """Works for real until it is let go."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.go = threading.Event()

    def execute(self, command: Command, start_s: float) -> Completion:
        assert self.go.wait(30.0)
        return super().execute(command, start_s)


@pytest.fixture
def stuck() -> Iterator[StuckDrive]:
    drive = StuckDrive()
    yield drive
    drive.go.set()


def error_of(future: Future[Completion]) -> str:
    with pytest.raises(DriveTimeout) as found:
        future.result(30.0)
    return str(found.value)


def test_a_virtual_clock_moves_to_the_time_that_is_up() -> None:
    clock = VirtualClock()
    with DriveQueue(Drive(SLOW), clock) as queue:
        message = error_of(queue.submit(Identify(), not_before_s=7.0))
        assert clock.now_s() == 37.0
        assert (
            "csd0: Identify got no answer within 30 s from 7 s on; go on without this drive, or set"
            in message
        )
    with DriveQueue(Drive(SLOW), clock, command_timeout_s=51.0) as queue:
        assert queue.submit(Identify()).result().end_s == 50.0


@pytest.mark.parametrize("clock", [VirtualClock, WallClock])
@pytest.mark.parametrize("submit", [True, False])
def test_the_queue_goes_on(clock: Callable[[], Clock], submit: bool) -> None:
    shown = clock()
    with DriveQueue(DeadDrive(SPEC), shown, command_timeout_s=0.05) as queue:
        before_s = shown.now_s()
        for _ in range(2):
            if submit:
                error_of(queue.submit(Identify(), not_before_s=shown.now_s()))
            else:
                with pytest.raises(DriveTimeout, match=r"csd0: Identify got no answer within 0\.05 s"):
                    queue.execute(Identify(), shown.now_s())
        assert shown.now_s() >= before_s + 0.1
        assert queue.submit(Health(), shown.now_s()).result().value.pages_read == 0


@pytest.mark.parametrize("clock", [VirtualClock, WallClock])
def test_a_drive_that_stops_says_nothing(clock: Callable[[], Clock]) -> None:
    drive = Drive(spec(faults=FaultSpec(stop_after_commands=1)))
    with DriveQueue(drive, clock(), command_timeout_s=0.05) as queue:
        assert queue.submit(Identify()).result().value.name == "csd0"
        futures = [queue.submit(Identify()) for _ in range(2)]
        for future in futures:
            assert "csd0: Identify got no answer within 0.05 s" in error_of(future)
        with pytest.raises(DriveTimeout, match="csd0: Health got no answer") as found:
            queue.execute(Health(), 0.0)
        assert found.value.drive == "csd0"


def test_waiting_behind_others_does_not_count() -> None:
    clock = VirtualClock()
    with DriveQueue(SerialDrive(SPEC), clock, command_timeout_s=51.0) as queue:
        futures = [queue.submit(Identify()) for _ in range(3)]
        assert [future.result().end_s for future in futures] == [50.0, 100.0, 150.0]
    with DriveQueue(DeadDrive(SPEC), VirtualClock()) as queue:
        futures = [queue.submit(Identify()) for _ in range(3)]
        assert all("from 0 s on" in error_of(future) for future in futures)


def test_a_machine_that_is_stuck_on_a_wall_clock(stuck: StuckDrive) -> None:
    """What waits behind the stuck command is given up without being executed, and can still be cancelled."""
    with DriveQueue(stuck, WallClock(), command_timeout_s=0.2) as queue:
        first, second, third = (queue.submit(Identify()) for _ in range(3))
        assert third.cancel()
        for future in (first, second):
            assert "got no answer within 0.2 s" in error_of(future)
        stuck.go.set()
        assert queue.submit(Identify()).result(30.0).value.name == "csd0"
        with pytest.raises(CancelledError):
            third.result()


def test_what_this_machine_compiles_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[float] = []

    def compile_once(*, sparse: bool) -> None:
        if not compiled:
            time.sleep(0.3)
        compiled.append(0.3)

    monkeypatch.setattr("runtime.csd.drive.prepare", compile_once)
    configure = Configure(1, 1, 1, 4, np.dtype(np.float32), 1, 4)
    for submit in (True, False):
        compiled.clear()
        with DriveQueue(Drive(SPEC), WallClock(), command_timeout_s=0.2) as queue:
            done = queue.submit(configure).result() if submit else queue.execute(configure, 0.3)
        assert done.end_s - done.start_s < 0.2
        assert compiled


def test_a_stuck_drive_does_not_keep_its_queue_from_closing(stuck: StuckDrive) -> None:
    queue = DriveQueue(stuck, WallClock(), command_timeout_s=0.05)
    future = queue.submit(Identify())
    queue.close()
    error_of(future)


def test_each_drive_has_a_time_of_its_own() -> None:
    """One dead drive among four: the others deliver, on one clock."""
    clock = VirtualClock()
    drives = [(DeadDrive if number == 2 else Drive)(SPEC, f"csd{number}") for number in range(4)]
    queues = [DriveQueue(drive, clock) for drive in drives]
    futures = [queue.submit(Identify(), not_before_s=1.0) for queue in queues]
    assert error_of(futures.pop(2)).startswith("csd2: Identify")
    assert [future.result().end_s for future in futures] == [1.0, 1.0, 1.0]
    for queue in queues:
        queue.close()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_timeout_is_positive(seconds: float) -> None:
    with pytest.raises(
        DriveError, match=r"csd0: command_timeout_s is .*; give a positive number of seconds, such as 30"
    ):
        DriveQueue(Drive(SPEC), VirtualClock(), command_timeout_s=seconds)


def test_a_closed_queue_executes_nothing() -> None:
    queue: Any = DriveQueue(Drive(SPEC), VirtualClock())
    queue.close()
    with pytest.raises(DriveError, match="csd0: the queue is closed; open a new DriveQueue on the drive"):
        queue.execute(Identify(), 0.0)
