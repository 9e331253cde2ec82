"""The times of single steps of a phase: what :mod:`runtime.step_runner` does, values left aside."""

from __future__ import annotations

import numpy as np

from partitioner.errors import PlanError
from partitioner.ir.op import Attention
from partitioner.plan.steps import Move, Run, Step
from partitioner.shares import Share
from runtime.attention_demand import gpu_demand, host_demand
from runtime.cache_homes import cache_dtype, cache_len
from runtime.clock import Clock
from runtime.devices.processor import TimedDemand
from runtime.frame import Frame
from runtime.links import Transfer
from runtime.move_bytes import move_bytes
from runtime.program import Program
from runtime.simulation.command_counts import Part
from runtime.simulation.counted_system import CountedSystem


class StepTimes:
    """Tells when steps of one phase end; see :class:`runtime.streams.Runner`.

    Args:
        program: The phase.
        system: Devices and links.
    """

    def __init__(self, program: Program, system: CountedSystem) -> None:
        self._program, self._system = program, system
        self._demands: dict[tuple[object, ...], TimedDemand] = {}
        self._sizes: dict[tuple[object, ...], float] = {}
        self._labels = tuple(program.label(step) for step in program.phase.steps)

    @property
    def program(self) -> Program:
        """Returns the phase."""
        return self._program

    @property
    def clock(self) -> Clock:
        """Returns the clock of the system."""
        return self._system.pace.clock

    def num_parts(self, step: Step) -> int:
        """Returns in how many parts a step is performed: those of the plan."""
        return step.num_parts

    def perform(self, frame: Frame, step: Step, ready_s: float, part: int = 0) -> float:
        """Returns when a part of a step ends whose predecessors have ended by ``ready_s``."""
        self._system.log.begin(frame)
        if isinstance(step, Run):
            return self._run(frame, step, ready_s)
        match step.kind:
            case "hand_over":
                return self._transfer(frame, step, ready_s).end_s
            case "stream_weights":
                transfer = self._transfer(frame, step, ready_s)
                return transfer.free_s if part + 1 < step.num_parts else transfer.end_s
            case "stream_cache":
                return self._stream_cache(frame, step, ready_s)
            case "append_cache":
                return self._append(frame, step, ready_s)
            case "store_cache":
                return self._store(frame, step, ready_s)
            case "page_out":
                return self._page_out(frame, step, ready_s)
            case _:
                raise PlanError(f"the plan has a move of unknown kind {step.kind!r}")

    def _run(self, frame: Frame, step: Run, ready_s: float) -> float:
        segment, name = self._program.segment(step), self._program.name
        if step.share is None:
            processor = self._system.processors[step.device]
            return processor.account((), [self._program.demands[segment.index]], ready_s, segment.name, name)
        op = segment.attention or ""
        attention = self._program.attention[op]
        length = int(frame.after[0])
        if step.device in self._system.drives:
            drive, cut = self._system.drives[step.device], step.share.cut
            if cut is not None:
                older = cut.attended(length)
                if not older:
                    return ready_s
                return drive.attend_older(op, frame.micro_batch, attention, older, length - older, ready_s)
            return drive.attend(op, frame.micro_batch, attention, length, ready_s)
        demand = self._share_demand(attention, step.share, length)
        return self._system.processors[step.device].account((), [demand], ready_s, op, name)

    def _share_demand(self, attention: Attention, share: Share, length: int) -> TimedDemand:
        plan, seen = self._program.plan, attention.tokens_seen(length)
        if share.cut is not None:
            seen = min(seen, share.cut.attended(length))
        cut = share.device, share.num_rows, share.num_kv_heads
        key = (attention.group_size, attention.head_size, attention.cache_dtype, *cut, seen)
        if key not in self._demands:
            itemsize = np.dtype(cache_dtype(plan, attention)).itemsize
            self._demands[key] = (
                host_demand(attention, share, np.full(share.num_rows, length), itemsize)
                if share.device == "host"
                else gpu_demand(attention, share, cache_len(plan, attention), itemsize, len(plan.hw.gpus))
            )
        return self._demands[key]

    def _stream_cache(self, frame: Frame, step: Move, ready_s: float) -> float:
        if not step.src.startswith("csd"):
            return self._transfer(frame, step, ready_s).end_s
        drive = self._system.drives[step.src]
        read_s = drive.read(step.attention or "", frame.micro_batch, int(frame.before[0]), ready_s)
        return max(read_s, self._transfer(frame, step, ready_s + drive.first_page_s).end_s)

    def _append(self, frame: Frame, step: Move, ready_s: float) -> float:
        transfer = self._transfer(frame, step, ready_s)
        if step.dst not in self._system.drives:
            return transfer.end_s
        part = self._system.drives[step.dst].part(step.attention or "", frame.micro_batch)
        return self._write(step, transfer, part, int(frame.before[0]), int(frame.after[0]))

    def _store(self, frame: Frame, step: Move, ready_s: float) -> float:
        transfer = self._transfer(frame, step, ready_s)
        if step.share is None or step.dst not in self._system.drives:
            return transfer.end_s
        found = frame.rows_of(step.share)
        if not found.count:
            return ready_s
        first = int(found.own[0])
        drive = self._system.drives[step.dst]
        part = drive.part(step.attention or "", frame.micro_batch, first, first + found.count)
        after, cut = int(frame.after[0]), step.share.cut
        return self._write(step, transfer, part, int(frame.before[0]), cut.stored(after) if cut else after)

    def _page_out(self, frame: Frame, step: Move, ready_s: float) -> float:
        assert step.share is not None
        assert step.share.cut is not None
        cut, after = step.share.cut, int(frame.after[0])
        if not cut.leaving(after):
            return ready_s
        transfer = self._transfer(frame, step, ready_s)
        part = self._system.drives[step.dst].part(step.attention or "", frame.micro_batch)
        return self._write(step, transfer, part, cut.departed(after - 1), cut.departed(after))

    def _write(self, step: Move, transfer: Transfer, part: Part, before: int, after: int) -> float:
        """Writes tokens of every sequence to a drive as they arrive; returns when they are there and accepted."""
        drive, op = self._system.drives[step.dst], step.attention or ""
        end_s = drive.write(op, part, before, after, transfer.arrival_s, self._program.name)
        return max(end_s, transfer.end_s)

    def _transfer(self, frame: Frame, step: Move, ready_s: float) -> Transfer:
        """Reserves the links of a move, or of its next part."""
        hops = self._program.hops[step.id]
        size = self._bytes(frame, step) / step.num_parts if hops else 0.0
        return self._system.links.transfer(hops, size, ready_s, self._labels[step.id], self._program.name)

    def _bytes(self, frame: Frame, step: Move) -> float:
        """Returns the bytes of a move; those that do not depend on the tokens of a run are counted once."""
        grows = step.kind in ("stream_cache", "store_cache", "page_out")
        key = (step.id, int(frame.slots[0]), int(frame.before[0])) if grows else (step.id,)
        if key not in self._sizes:
            self._sizes[key] = move_bytes(self._program, step, frame.rows_of, frame.before, frame.after)
        return self._sizes[key]
