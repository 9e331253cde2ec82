"""A placement made of known columns: the program over the cheapest of them, in whole numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import BoundedProgram, Floats, Vertex
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.columns import Column
from partitioner.placement.count_search import Counted, best_counts
from partitioner.placement.distinct_rows import first_rows
from partitioner.placement.reach import reach_row, unreached

REPAIRS = 6
"""How often the program is solved again because its solution has rounds that no walk reaches."""


@dataclass(frozen=True)
class Effort:
    """Says how a program over columns is solved.

    Attributes:
        num_columns: So many columns are chosen from.
        max_nodes: Nodes of the search tree.
        gap: Relative gap at which the search ends.
        search: What searches.
        loose: Whether hard limits may be broken, at the program's price.
    """

    num_columns: int
    max_nodes: int
    gap: float
    search: Callable[..., Counted]
    loose: bool = False


ONE_OF_SEVERAL = Effort(100, 300, 1e-5, best_counts)
"""For one of several programs, each over other columns."""


def counted_columns(
    program: ColumnProgram,
    vertex: Vertex,
    box: tuple[Floats, Floats] | None,
    cutoff: float,
    kept: tuple[Column, ...],
    effort: Effort = ONE_OF_SEVERAL,
) -> list[Counter[Column]] | None:
    """Returns a placement made of columns, or None where none is found below a cutoff.

    Args:
        program: The columns and rows.
        vertex: A solution of the program; columns it takes, and those of least reduced cost, are chosen from.
        box: Bounds [S] on the sums.
        cutoff: What the goal's value may be at most.
        kept: Further columns of the program to choose from.
        effort: How it is solved.
    """
    num_sums, meeting = program.sums.size, program.meeting
    low, high = box or (np.zeros(num_sums), np.full(num_sums, np.inf))
    reduced = vertex.reduced[program.num_rows + program.num_fixed :].copy()
    shares, keys = program.shares(vertex), {c.key for c in kept}
    columns = program.columns[: len(reduced)]
    reduced[shares > 0] = reduced[[c.key in keys for c in columns]] = -np.inf
    chosen = np.sort(np.argsort(reduced, kind="stable")[: effort.num_columns])
    num_times = program.goal.num_groups + (len(program.goal.hard) if effort.loose else 0)
    variables = np.concatenate([np.arange(len(meeting.upper) + num_times), program.num_fixed + chosen])
    matrix = program.program.matrix[:, variables]
    sums = np.arange(program.first_sum, program.num_rows)
    sums = sums[matrix[sums].any(axis=1)]
    rows = np.concatenate([np.arange(program.first_sum), sums[first_rows(matrix[sums])]])
    places = np.concatenate([rows, program.num_rows + variables])
    lower, upper = (side[places] for side in program.bounds(low, high))
    matrix, num_rows = matrix[rows], len(rows)
    rank = np.full(len(places), -1)
    rank[program.first_sum : num_rows] = program.sums.rank[rows[program.first_sum :] - program.first_sum]
    rank[num_rows:] = 0
    rank[num_rows + len(meeting.upper) : num_rows + len(meeting.upper) + num_times] = -1
    cost = program.program.cost[variables]
    made = [columns[n] for n in chosen.tolist()]
    begin, end = _ends(program, made)
    for _ in range(REPAIRS):
        found = effort.search(
            BoundedProgram(cost, matrix),
            lower,
            upper,
            rank,
            gap=effort.gap,
            cutoff=cutoff / program.step,
            max_nodes=effort.max_nodes,
        )
        if found.solution is None:
            return None
        whole = np.rint(found.solution).astype(np.int64)
        starts, counts = whole[: len(meeting.upper)], whole[len(meeting.upper) + num_times :]
        apart = _detached(program, made, starts, counts, begin, end)
        if apart is None:
            return [
                Counter({c: int(n) for c, n in zip(made, counts, strict=True) if n and c.stage == position})
                for position in range(len(program.folded.stages))
            ]
        row = reach_row(program.folded, meeting, *apart, begin, end)
        cut = np.concatenate([row[len(made) :], np.zeros(num_times), row[: len(made)]])
        matrix = np.vstack([cut, matrix])
        lower, upper = np.concatenate([[0.0], lower]), np.concatenate([[np.inf], upper])
        rank = np.concatenate([[-1], rank])
    return None


def _ends(program: ColumnProgram, made: list[Column]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the node at which each column begins, and the one at which it ends."""
    first, stages = program.meeting.first_node, program.folded.stages
    begin = [int(first[c.stage]) + c.entry for c in made]
    end = [int(first[c.stage] + stages[c.stage].onward[c.leave]) for c in made]
    return np.array(begin, np.int64), np.array(end, np.int64)


def _detached(
    program: ColumnProgram,
    made: list[Column],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
) -> tuple[int, frozenset[int]] | None:
    """Returns a stage and its nodes that no walk comes to, or None."""
    meeting = program.meeting
    of = np.array([c.stage for c in made])
    for position, stage in enumerate(program.folded.stages):
        used = np.flatnonzero((of == position) & (counts > 0))
        first = int(meeting.first[position])
        start = int(np.argmax(starts[first : first + len(stage.graph.entries)]))
        apart = unreached(int(meeting.first_node[position]) + start, begin[used], end[used])
        if apart:
            return position, frozenset(apart)
    return None
