"""A submission and completion queue for one drive: order, delivery and timeouts of its commands."""

import queue
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from runtime.clock import Clock
from runtime.csd.commands import Command
from runtime.csd.drive import Drive
from runtime.csd.errors import DriveError, DriveStopped, DriveTimeout
from runtime.csd.records import Completion

IO_TIMEOUT_S = 30.0
"""Seconds without an answer after which a drive is given up: nvme_core.io_timeout of Linux (drivers/nvme/host/core.c)."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """One command under way.

    Attributes:
        command: What to do.
        start_s: When it arrives.
        answer: The completion as soon as it is known; cancelled if the command was given up before its turn.
        delivered: What the submitter holds; not waited for where the answer is taken at once.
    """

    command: Command
    start_s: float
    answer: Future[Completion] = field(default_factory=Future)
    delivered: Future[Completion] = field(default_factory=Future)


class DriveQueue:
    """Executes commands in the order of their submission, and delivers them in this order.

    One thread works out values, ahead of the emulated drive where it can. Another delivers each completion when the drive
    would be done: on a wall clock it sleeps until then, a virtual clock it moves there.

    A command times out once ``command_timeout_s`` have passed since it arrived and since the drive last delivered one, so
    that waiting behind others does not count; nor does what this machine compiles for it, before it arrives. A command that
    timed out before its turn is not executed any more. The queue goes on with those that follow.

    Args:
        drive: Executes the commands; nothing else should give it any.
        clock: The clock of all times.
        command_timeout_s: See above.

    Raises:
        DriveError: The timeout is not positive.
    """

    def __init__(self, drive: Drive, clock: Clock, command_timeout_s: float = IO_TIMEOUT_S) -> None:
        if not command_timeout_s > 0.0:
            raise DriveError(
                f"{drive.name}: command_timeout_s is {command_timeout_s}; "
                f"give a positive number of seconds, such as {IO_TIMEOUT_S:g}"
            )
        self.command_timeout_s = command_timeout_s
        self._drive = drive
        self._clock = clock
        self._progress_s = 0.0
        self._submitted: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._in_flight: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._is_stuck = False
        self._worker = threading.Thread(target=self._work, name=f"queue-{drive.name}", daemon=True)
        self._delivery = threading.Thread(target=self._deliver, name=f"delivery-{drive.name}", daemon=True)
        self._worker.start()
        self._delivery.start()

    def submit(self, command: Command, not_before_s: float = 0.0) -> Future[Completion]:
        """Hands a command over.

        Args:
            command: What to do.
            not_before_s: When what the command carries is there; the drive starts no earlier.

        Returns:
            Delivers the completion, or the error of a command that failed or timed out. May be cancelled until its turn
            comes.

        Raises:
            DriveError: The queue is closed.
        """
        self._drive.prepare(command)
        with self._lock:
            entry = self._enter(command, self._clock.arrival_s(not_before_s))
            self._in_flight.put(entry)
        return entry.delivered

    def execute(self, command: Command, start_s: float) -> Completion:
        """Executes a command in its turn and returns as soon as its values are known, which may be before its end.

        The caller sees to it that nobody uses them before ``end_s``.

        Args:
            command: What to do.
            start_s: When it arrives, by the clock.

        Raises:
            DriveError: The command breaks a rule, or the queue is closed.
            DriveTimeout: The drive does not answer; raised when the time is up by the clock.
        """
        self._drive.prepare(command)
        with self._lock:
            entry = self._enter(command, start_s)
        return self._answer_of(entry)

    def close(self) -> None:
        """Finishes what was submitted and ends the threads; closing twice does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._submitted.put(None)
                self._in_flight.put(None)
        self._delivery.join()
        if not self._is_stuck:
            self._worker.join()

    def __enter__(self) -> "DriveQueue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter(self, command: Command, start_s: float) -> _Entry:
        """Puts a command into the queue; the lock is held."""
        if self._closed:
            raise DriveError(f"{self._drive.name}: the queue is closed; open a new DriveQueue on the drive")
        entry = _Entry(command, start_s)
        self._submitted.put(entry)
        return entry

    def _work(self) -> None:
        """Works out the values of one command after the other."""
        while (entry := self._submitted.get()) is not None:
            with self._lock:
                self._is_stuck = False
                has_timed_out = entry.delivered.done() and not entry.delivered.cancelled()
                if has_timed_out or not entry.delivered.set_running_or_notify_cancel():
                    entry.answer.set_exception(CancelledError())
                    continue
            try:
                completion = self._drive.execute(entry.command, entry.start_s)
            except BaseException as error:  # the submitter must hear of it, whatever it is
                entry.answer.set_exception(error)
            else:
                entry.answer.set_result(completion)

    def _deliver(self) -> None:
        """Delivers one submitted command after the other, when its time has come."""
        while (entry := self._in_flight.get()) is not None:
            try:
                completion = self._answer_of(entry)
                self._clock.sleep_until(completion.end_s)
            except CancelledError:
                continue
            except BaseException as error:
                with suppress(InvalidStateError):  # it was cancelled, or has this error already
                    entry.delivered.set_exception(error)
            else:
                entry.delivered.set_result(completion)

    def _answer_of(self, entry: _Entry) -> Completion:
        """Waits until a command's values are known; the one place where commands time out.

        Raises:
            CancelledError: It was cancelled.
            DriveTimeout: It is not done in time.
        """
        begin_s = max(entry.start_s, self._progress_s)
        deadline_s = begin_s + self.command_timeout_s
        completion = None
        with suppress(DriveStopped, TimeoutError):
            completion = entry.answer.result(self._clock.seconds_left(deadline_s))
        if completion is None or completion.end_s > deadline_s:
            self._clock.sleep_until(deadline_s)
            raise self._give_up(entry, begin_s)
        with self._lock:
            self._progress_s = max(self._progress_s, self._clock.arrival_s(completion.end_s))
        return completion

    def _give_up(self, entry: _Entry, begin_s: float) -> DriveTimeout:
        """Marks a command as timed out, so that it does not begin any more, and returns the error."""
        error = DriveTimeout(
            f"{type(entry.command).__name__} got no answer within {self.command_timeout_s:g} s from {begin_s:g} s on; "
            "go on without this drive, or set a longer command_timeout_s if it is described to be that slow"
        ).of_drive(self._drive.name)
        with self._lock, suppress(InvalidStateError):
            self._is_stuck |= not entry.answer.done()
            entry.delivered.set_exception(error)
        return error
