"""Rounds that no walk from a stage's start can reach: what they are, and the row that rules them out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.balance import Boundaries
from partitioner.placement.folded import Folded


def unreached(start: int, begin: NDArray[np.int64], end: NDArray[np.int64]) -> set[int]:
    """Returns the nodes at which ways begin that no walk along them from a start comes to."""
    reached = {start}
    while True:
        more = {int(e) for b, e in zip(begin, end, strict=True) if int(b) in reached} - reached
        if not more:
            return {int(b) for b in begin} - reached
        reached |= more


def reach_row(
    folded: Folded,
    meeting: Boundaries,
    stage: int,
    apart: frozenset[int],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Returns a row no walk breaks: instances begin at some nodes only if the stage does, or a way leads there.

    Args:
        folded: The problem.
        meeting: Its boundaries.
        stage: The stage of the nodes.
        apart: The nodes.
        begin: For each way the node at which it begins; the row is over these, then over the boundary variables.
        end: Likewise the node at which it ends.
    """
    count = folded.stages[stage].count
    inside = np.isin(np.arange(meeting.num_nodes), list(apart))
    row = np.zeros(len(begin) + len(meeting.upper))
    row[: len(begin)] = count * (inside[end] & ~inside[begin])
    row[: len(begin)] -= inside[begin]
    first = len(begin) + int(meeting.first[stage])
    node, num_entries = int(meeting.first_node[stage]), len(folded.stages[stage].graph.entries)
    row[first : first + num_entries] = count * inside[node : node + num_entries]
    return row
