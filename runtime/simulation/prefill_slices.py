"""The prefill of a whole batch, slice by slice.

Slices pass every resource in their order. Equal ones settle to a rhythm: from then on, each ends a constant time after the one
before it. Where many equal slices follow each other, those beyond the first ones are added at that rhythm.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from partitioner.plan.plan import Plan
from partitioner.plan.steps import Move, Step
from runtime.frame import Frame
from runtime.micro_batches import MicroBatches
from runtime.program import Program
from runtime.share_rows import ShareRows
from runtime.simulation.counted_system import CountedSystem
from runtime.simulation.step_times import StepTimes
from runtime.simulation.use_log import TimedUse, Use
from runtime.streams import GivenFrames
from runtime.virtual_executor import VirtualExecutor

SETTLED = 12
"""Slices after which equal ones have their rhythm: weights and stores run a few slices ahead or behind at most."""
COUNTED = 4
"""Slices over which the rhythm is taken."""


def sum_prefill(plan: Plan, system: CountedSystem, prompt_len: int, *, every_slice: bool = False) -> TimedUse:
    """Returns what the prefill of the whole batch takes, until all prompts are processed and their caches are home.

    Args:
        plan: A plan with a prefill.
        system: Devices and links at rest.
        prompt_len: Tokens of each prompt.
        every_slice: Whether to simulate every slice.
    """
    program = Program(plan, plan.phase("prefill"))
    rows, micro_rows = program.phase.rows, MicroBatches.of(plan).num_rows
    own, none = np.arange(rows), np.zeros(rows, np.int64)
    frames: list[Frame] = []
    skipped: dict[Frame, int] = {}
    firsts = [divmod(first, micro_rows) for first in range(0, plan.workload.batch_size, rows)]
    for _, alike in groupby(firsts, key=lambda at: _stored(program, at[1] + own)):
        run = list(alike)
        kept = run if every_slice else run[:SETTLED]
        frames += [Frame(program, n, first + own, none, none + prompt_len, {}, {}) for n, first in kept]
        skipped[frames[-1]] = len(run) - len(kept)
    runner = _TimedFrames(program, system)
    end_s = VirtualExecutor().run([GivenFrames(runner, frames)], 0.0)
    use = Use()
    for frame, asked in system.log.take_uses().items():
        use.add_all(asked, 1.0 + skipped.get(frame, 0))
    for frame, count in skipped.items():
        if count:
            end_s += count * runner.rhythm_s(frames[: frames.index(frame) + 1])
    return TimedUse(end_s, use)


def _stored(program: Program, slots: np.ndarray) -> tuple[int, ...]:
    """Returns how many of a slice's rows each of the moves to shares of caches takes."""
    shares = [s.share for s in program.phase.steps if isinstance(s, Move) and s.share is not None]
    return tuple(ShareRows.of(share, slots).count for share in shares)


class _TimedFrames(StepTimes):
    """Keeps when each frame ended."""

    def __init__(self, program: Program, system: CountedSystem) -> None:
        super().__init__(program, system)
        self._ends_s: dict[Frame, float] = {}

    def perform(self, frame: Frame, step: Step, ready_s: float, part: int = 0) -> float:
        """Returns when a part of a step ends whose predecessors have ended by ``ready_s``."""
        end_s = super().perform(frame, step, ready_s, part)
        self._ends_s[frame] = max(self._ends_s.get(frame, 0.0), end_s)
        return end_s

    def rhythm_s(self, frames: Sequence[Frame]) -> float:
        """Returns the seconds from one of the last frames to the next."""
        first, last = (self._ends_s[frame] for frame in (frames[-1 - COUNTED], frames[-1]))
        return (last - first) / COUNTED
