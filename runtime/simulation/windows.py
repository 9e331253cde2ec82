"""Runs of consecutive decode steps, and what each of their steps takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from partitioner.plan.plan import Plan
from partitioner.plan.timeline import Timeline
from runtime.frame import Frame
from runtime.micro_batches import MicroBatches
from runtime.program import Program
from runtime.simulation.counted_system import CountedSystem
from runtime.simulation.step_times import StepTimes
from runtime.simulation.use_log import TimedUse, Use
from runtime.streams import Runner
from runtime.virtual_executor import VirtualExecutor

_REST_S = 1.0
"""Between windows; pages that are programmed behind a command are long in their cells by then."""


class DecodeWindows:
    """Simulates runs of consecutive decode steps, each from resources at rest.

    Args:
        plan: The plan.
        system: Devices and links.
        begin_s: When the decode may begin.

    Attributes:
        overlap: Whether steps of different micro-batches overlap, so that the first ones of a window are not like others.
        num_steps: Steps simulated so far.
    """

    def __init__(self, plan: Plan, system: CountedSystem, begin_s: float = 0.0) -> None:
        self._program, self._system = Program(plan, plan.decode), system
        self._runner = StepTimes(self._program, system)
        self._micro_batches = MicroBatches.of(plan).count
        self.overlap = self._micro_batches > 1
        self._origin_s = begin_s
        self.num_steps = 0

    def run(self, lengths: Sequence[int]) -> Mapping[int, TimedUse]:
        """Simulates the steps after which sequences have ``lengths`` tokens, one more each time; returns what each took."""
        streams = [_Tokens(self._runner, number, lengths) for number in range(self._micro_batches)]
        VirtualExecutor().run(streams, self._origin_s)
        uses = {length: Use() for length in lengths}
        for frame, use in self._system.log.take_uses().items():
            uses[int(frame.after[0])].add_all(use, 1.0)
        ends_s = [max(ends) for ends in zip(*(s.ends_s for s in streams), strict=True)]
        seconds = np.diff(ends_s, prepend=self._origin_s).tolist()
        self._origin_s = ends_s[-1] + _REST_S
        self.num_steps += len(lengths)
        return {length: TimedUse(s, uses[length]) for length, s in zip(lengths, seconds, strict=True)}

    def timeline(self, length: int) -> Timeline:
        """Returns what every resource does in the step after which sequences have ``length`` tokens.

        Where steps of micro-batches overlap, it is that of one step of each, from rest.
        """
        origin_s, self._system.log.keeps_events = self._origin_s, True
        self.run((length,))
        self._system.log.keeps_events = False
        return self._system.log.take(origin_s)


class _Tokens:
    """The steps of one micro-batch."""

    def __init__(self, runner: Runner, micro_batch: int, lengths: Sequence[int]) -> None:
        self.runner = runner
        self.ends_s: list[float] = []
        self._micro_batch, self._lengths, self._next = micro_batch, lengths, 0

    def frames(self, now_s: float) -> Sequence[Frame]:
        """Returns the next step."""
        if self._next:
            self.ends_s.append(now_s)
        if self._next == len(self._lengths):
            return ()
        program = self.runner.program
        slots = np.arange(program.phase.rows)
        after = np.full_like(slots, self._lengths[self._next])
        self._next += 1
        return (Frame(program, self._micro_batch, slots, after - 1, after, {}, {}),)
