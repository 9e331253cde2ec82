"""Rounds of a mixture that no walk reaches, and the two sums of which one tells that: none begins there, or one leads there.

Columns of a stage that is repeated form rounds: layers that begin and end with their input on the host, and others with theirs
on the GPU, need a column between the two, which may cost more than all that the mixture gains.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import Vertex
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.reach import unreached

USED = 1e-9
"""Columns and starts of smaller shares are not in use."""


def apart_sums(program: ColumnProgram, vertex: Vertex) -> ColumnSums | None:
    """Returns the sums of columns that begin at nodes that no walk comes to, and that lead there; None where there are none."""
    folded, meeting = program.folded, program.meeting
    shares = program.shares(vertex)
    used = [c for c, n in zip(program.columns, shares.tolist(), strict=False) if n > USED]
    starts = vertex.point[program.num_rows :][: len(meeting.upper)] > USED
    for position, stage in enumerate(folded.stages):
        first, entries = int(meeting.first[position]), len(stage.graph.entries)
        own = [c for c in used if c.stage == position]
        begin = np.array([c.entry for c in own], np.int64)
        end = np.array([int(stage.onward[c.leave]) for c in own], np.int64)
        from_each = [unreached(int(s), begin, end) for s in np.flatnonzero(starts[first : first + entries])]
        apart = set.intersection(*from_each) if from_each else set[int]()
        if apart:
            return _sums(program, position, np.array(sorted(apart), np.int64))
    return None


def _sums(program: ColumnProgram, position: int, nodes: NDArray[np.int64]) -> ColumnSums:
    """Returns how many columns begin at some nodes of a stage, and how many lead there from elsewhere."""
    folded = program.folded
    sums = ColumnSums.by_choice(folded, np.zeros((2, len(folded.kinds.together))), np.full(2, -1))
    stage = folded.stages[position]
    inside = np.isin(np.arange(len(stage.graph.entries)), nodes)
    sums.ways[position][0, inside, :] = 1.0
    sums.ways[position][1] = ~inside[:, None] & np.isin(stage.onward, nodes)[None, :]
    if position:
        sums.ways[position - 1][1] += np.isin(folded.stages[position - 1].following, nodes)[None, :]
    return sums
