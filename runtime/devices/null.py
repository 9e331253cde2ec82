"""A device that computes nothing: it counts what a plan would do, so that plans can be tested without values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from partitioner.plan.plan import Plan
from partitioner.plan.steps import Run
from runtime.move_bytes import move_bytes
from runtime.program import Program
from runtime.share_rows import ShareRows


@dataclass(frozen=True)
class StepCounts:
    """Counts what one run of a phase does.

    Attributes:
        runs: Segments and drive commands per device.
        moves: Moves per kind, those within a device among them.
        move_bytes: Bytes that cross a link per kind of move.
        link_bytes: Bytes per link direction, such as ``csd0.up``.
    """

    runs: Mapping[str, int]
    moves: Mapping[str, int]
    move_bytes: Mapping[str, int]
    link_bytes: Mapping[str, int]


def count_steps(plan: Plan, context_len: int, phase: str = "decode") -> StepCounts:
    """Returns what one decode step, or one slice of a prefill, does; works for abstract models.

    Args:
        plan: Any plan.
        context_len: Tokens of every row once the step is done.
        phase: ``decode`` or ``prefill``.

    Raises:
        PlanError: The plan has no such phase.
    """
    program = Program(plan, plan.phase(phase))
    num_rows = program.phase.rows
    after = np.full(num_rows, context_len)
    before = after - 1 if phase == "decode" else np.zeros_like(after)
    runs: Counter[str] = Counter()
    moves: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    links: Counter[str] = Counter()
    for step in program.phase.steps:
        if isinstance(step, Run):
            runs[step.device] += 1
            continue
        moves[step.kind] += 1
        hops = program.hops[step.id]
        if hops:
            size = move_bytes(program, step, partial(ShareRows.of, slots=np.arange(num_rows)), before, after)
            sizes[step.kind] += size
            links.update({f"{link}.{direction}": size for link, direction in hops})
    return StepCounts(dict(runs), dict(moves), dict(sizes), dict(links))
