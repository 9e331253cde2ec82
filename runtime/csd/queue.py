"""A submission and completion queue: one worker thread for each drive."""

import queue
import threading
from concurrent.futures import Future
from types import TracebackType

from runtime.clock import Clock
from runtime.csd.commands import Command
from runtime.csd.drive import Drive
from runtime.csd.errors import DriveError
from runtime.csd.records import Completion

_Entry = tuple[Command, float, Future[Completion]]


class DriveQueue:
    """Executes commands in the order of their submission, and delivers each when the drive would be done.

    On a wall clock the worker works out the values, then sleeps until the completion's ``end_s``; on a
    virtual clock it moves the clock there.
    """

    def __init__(self, drive: Drive, clock: Clock) -> None:
        self._drive = drive
        self._clock = clock
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name=f"queue-{drive.name}", daemon=True)
        self._worker.start()

    def submit(self, command: Command, not_before_s: float = 0.0) -> Future[Completion]:
        """Hands a command over.

        Args:
            command: What to do.
            not_before_s: When what the command carries is there; the drive starts no earlier.

        Returns:
            Delivers the completion, or the error of a command that failed. May be cancelled until the worker
            gets to it.

        Raises:
            DriveError: The queue is closed.
        """
        future: Future[Completion] = Future()
        with self._lock:
            if self._closed:
                raise DriveError(
                    f"{self._drive.name}: the queue is closed; open a new DriveQueue on the drive"
                )
            self._entries.put((command, self._clock.arrival_s(not_before_s), future))
        return future

    def close(self) -> None:
        """Finishes what was submitted and ends the worker; closing twice does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._entries.put(None)
        self._worker.join()

    def __enter__(self) -> "DriveQueue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while (entry := self._entries.get()) is not None:
            command, start_s, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                completion = self._drive.execute(command, start_s)
                self._clock.sleep_until(completion.end_s)
            except BaseException as error:  # the submitter must hear of it, whatever it is
                future.set_exception(error)
            else:
                future.set_result(completion)
