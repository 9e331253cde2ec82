"""A virtual drive as the session uses it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cost_models.components import DriveSpec
from partitioner.ir.op import Attention
from runtime.attention_parts import slopes_part
from runtime.csd import (
    Attend,
    Command,
    Completion,
    Drive,
    DriveError,
    DriveQueue,
    FileBacking,
    Health,
    HealthReport,
    Read,
    Reclaim,
    Sparse,
    Write,
)
from runtime.csd.queue import IO_TIMEOUT_S
from runtime.drive_tasks import DriveTask
from runtime.event_log import EventLog
from runtime.pace import Pace


class StorageDrive:
    """Holds one drive behind its queue, and the caches it has been given.

    The queue gives each answer as soon as its values are known; whoever needs them waits until they would be there.

    Attributes:
        name: ``csd0``, ``csd1``, ...
        task: What it holds.
        first_page_s: Seconds from a read command to the first page that leaves the drive.

    Args:
        name: Likewise.
        spec: What is emulated.
        task: What it is to hold.
        pace: The clock, and how work relates to it.
        log: Takes what the drive did when.
        backing: Where pages lie, if not in memory.
        command_timeout_s: Seconds without an answer after which the drive is given up.

    Raises:
        DriveError: The drive cannot hold its task, or there is no place for its pages.
    """

    def __init__(
        self,
        name: str,
        spec: DriveSpec,
        task: DriveTask,
        pace: Pace,
        log: EventLog,
        backing: FileBacking | None = None,
        command_timeout_s: float = IO_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.first_page_s = spec.command_s + spec.flash.t_read_s
        self._drive = Drive(spec, name, backing)
        self._queue = DriveQueue(self._drive, pace.clock, command_timeout_s)
        self._pace = pace
        self._log = log
        try:
            self.configure(task)
        except DriveError:
            self.close()
            raise

    def configure(self, task: DriveTask) -> None:
        """Makes room for a task and drops what was there before.

        Raises:
            DriveError: The drive cannot hold it.
        """
        self._queue.execute(task.configure, self._pace.clock.now_s())
        self.task = task

    def clear(self) -> float:
        """Drops all tokens, and returns when the blocks that held them are erased."""
        now_s = self._pace.clock.now_s()
        before = self.health().program_busy_s
        self._queue.execute(Reclaim(), now_s)
        after = self.health().program_busy_s
        return now_s + max(later - sooner for later, sooner in zip(after, before, strict=True))

    def reclaim(self, micro_batch: int, slots: np.ndarray) -> None:
        """Drops what rows of a micro-batch hold; blocks that hold nothing else are erased beside later commands."""
        for command in self.task.reclaims(micro_batch, slots):
            self._queue.execute(command, self._pace.clock.now_s())

    def attend(
        self,
        op: str,
        rows: np.ndarray,
        query: np.ndarray,
        new: tuple[np.ndarray, np.ndarray] | None,
        lengths: np.ndarray,
        attention: Attention,
        start_s: float,
        sparse: Sparse | None = None,
        newer: np.ndarray | None = None,
    ) -> tuple[Any, float]:
        """Appends one token per row, where one is given, and attends.

        Args:
            op: The attention.
            rows: Integer ``[rows]``, the drive's own.
            query: ``[rows, H, D]``.
            new: New k and new v, each ``[rows, K, D]``; None: the drive has older tokens alone.
            lengths: Integer ``[rows]``, tokens of each row on the drive, with the new one.
            attention: Its description.
            start_s: When the operands are there.
            sparse: How much of the cache to read; None: all.
            newer: Integer ``[rows]``, tokens of each row that are attended to elsewhere; None: there are none.

        Returns:
            The output, float32 ``[rows, H, D]``, or with ``newer`` a :class:`runtime.partial_attention.PartialAttention`; and
            when it is there.
        """
        key, value = (None, None) if new is None else new
        slopes = slopes_part(attention, self.task.shares[op])
        command = Attend(
            self.task.layers[op], query, key, value, lengths, attention.scale,
            soft_cap=attention.soft_cap, window=attention.window,
            slopes=None if slopes is None else np.array(slopes, np.float32), rows=rows, sparse=sparse, newer=newer,
        )  # fmt: skip
        completion, end_s = self._execute(command, start_s, op, "decode")
        return completion.value, end_s

    def write(
        self,
        op: str,
        pair: tuple[np.ndarray, np.ndarray],
        rows: np.ndarray,
        start: np.ndarray,
        lengths: np.ndarray,
        start_s: float,
        phase: str,
    ) -> float:
        """Stores ``lengths`` tokens of K and V, each ``[n, K, T, D]``, behind the first ``start`` of rows.

        Returns:
            When the drive has accepted them.
        """
        command = Write(self.task.layers[op], *pair, start=start, lengths=lengths, rows=rows)
        return self._execute(command, start_s, f"write {op}", phase)[1]

    def read(
        self, op: str, rows: np.ndarray, lengths: np.ndarray, start_s: float
    ) -> tuple[tuple[np.ndarray, np.ndarray], float]:
        """Reads the first ``lengths`` tokens of rows of its own.

        Returns:
            K and V, each ``[rows, K, T, D]`` and padded to the longest context, and when the last page is read.
        """
        command = Read(self.task.layers[op], lengths, rows=rows)
        completion, end_s = self._execute(command, start_s, f"read {op}", "decode")
        return completion.value, end_s

    def health(self) -> HealthReport:
        """Returns the drive's counters."""
        return self._queue.execute(Health(), self._pace.clock.now_s()).value

    def close(self) -> None:
        """Finishes what is under way and gives the storage of the pages back."""
        self._queue.close()
        self._drive.close()

    def _execute(self, command: Command, start_s: float, name: str, phase: str) -> tuple[Completion, float]:
        completion = self._queue.execute(command, start_s)
        end_s = self._pace.finish(completion.start_s, completion.end_s)
        detail = completion.detail
        size = detail.bytes_programmed if isinstance(command, Write) else detail.bytes_read
        self._log.add(self.name, name, phase, completion.start_s, end_s, float(size))
        return completion, end_s
