"""A drive that keeps no bytes: commands are counted, and the drive's own throttle says how long they take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cost_models.hardware import DriveSpec
from partitioner.ir.op import Attention
from runtime.csd.throttle import Throttle
from runtime.drive_tasks import DriveTask
from runtime.event_log import EventLog
from runtime.simulation.command_counts import CommandCounts, Counted, Part
from runtime.simulation.drawn_pages import num_lots


class CountedDrive:
    """Tells when a drive would be done with the commands of a generation.

    Attributes:
        name: ``csd0``, ``csd1``, ...
        task: What it holds.
        counts: What commands read and program.
        first_page_s: Seconds from a read command to the first page that leaves the drive.

    Args:
        name: Likewise.
        spec: What is emulated; faults are left aside, as predictions do.
        task: Likewise.
        counts: Likewise, of an equal task.
        log: Takes what the drive does when.
    """

    def __init__(
        self, name: str, spec: DriveSpec, task: DriveTask, counts: CommandCounts, log: EventLog
    ) -> None:
        self.name, self.task, self.counts = name, task, counts
        self.first_page_s = spec.command_s + spec.flash.t_read_s
        self._spec = replace(spec, faults=None)
        self._throttle = Throttle(self._spec, name)
        self._log = log

    def part(self, op: str, micro_batch: int, first: int = 0, stop: int | None = None) -> Part:
        """Returns rows ``first`` to ``stop`` (exclusive) of the drive's share of an attention in a micro-batch."""
        share, by_channel = self.task.shares[op], self.task.keeps_channels(op)
        count = (share.num_rows if stop is None else stop) - first
        number = int(self.name.removeprefix("csd")) * len(self.task.layers) + self.task.layers[op]
        lot = number % num_lots(count * share.num_kv_heads) if by_channel else 0
        return Part(lot, micro_batch * share.num_rows + first, count, share.num_kv_heads, by_channel)

    def attend(self, op: str, micro_batch: int, attention: Attention, length: int, start_s: float) -> float:
        """Appends a token to every sequence and attends to ``length``, the new one included; returns when that is done.

        Pages that the token fills are programmed behind the attention.
        """
        return self._attend(op, self.counts.attended(self.part(op, micro_batch), attention, length), start_s)

    def attend_older(
        self, op: str, micro_batch: int, attention: Attention, older: int, newer: int, start_s: float
    ) -> float:
        """Attends to the ``older`` tokens of every sequence, whole pages, behind which ``newer`` ones are elsewhere."""
        part = self.part(op, micro_batch)
        return self._attend(op, self.counts.attended_older(part, attention, older, newer), start_s)

    def _attend(self, op: str, counted: Counted, start_s: float) -> float:
        span, _ = self._throttle.attend(
            start_s + self._spec.command_s,
            counted.read,
            counted.flops,
            counted.buffered_bytes,
            counted.memory_bytes,
            counted.steps,
        )
        reads = self._throttle.read(span.end_s, counted.background)
        self._throttle.program(reads.end_s, counted.programmed)
        pages = counted.read if counted.steps is None else counted.steps.pages
        self._add(op, "decode", start_s, span.end_s, pages)
        return span.end_s

    def write(self, op: str, part: Part, before: int, after: int, start_s: float, phase: str) -> float:
        """Takes in tokens ``before`` to ``after`` (exclusive) of every sequence; returns when they are accepted."""
        counted = self.counts.written(part, before, after)
        begin_s = start_s + self._spec.command_s
        programs = self._throttle.program(begin_s, counted.programmed)
        self._throttle.read(programs.end_s, counted.background)
        end_s = max(programs.end_s, self._throttle.move_dram(begin_s, counted.memory_bytes))
        self._add(f"write {op}", phase, start_s, end_s, counted.programmed)
        return end_s

    def read(self, op: str, micro_batch: int, length: int, start_s: float) -> float:
        """Reads the first ``length`` tokens of every sequence; returns when the last page has left the flash."""
        counted = self.counts.read(self.part(op, micro_batch), length)
        begin_s = start_s + self._spec.command_s
        flash = self._throttle.read(begin_s, counted.read)
        end_s = max(flash.end_s, self._throttle.move_dram(begin_s, counted.memory_bytes))
        self._add(f"read {op}", "decode", start_s, end_s, counted.read)
        return end_s

    def _add(self, name: str, phase: str, start_s: float, end_s: float, pages: np.ndarray) -> None:
        size = float(pages.sum()) * self._spec.flash.page_bytes
        self._log.add(self.name, name, phase, start_s, end_s, size)
