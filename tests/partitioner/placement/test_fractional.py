"""Which fractional count is branched on: one of the highest rank, or the one whose halves cost the most, as was learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from partitioner.placement.bounded_simplex import BoundedProgram, Ending, Vertex
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.fractional import Bounds, fractional_split
from partitioner.placement.learned_split import DOWN, UP, Learned, Step
from tests.partitioner.placement.problems import random_problem
from tests.partitioner.placement.relaxed import relaxed

COARSE, FINE = 0, 1
"""Rows: a sum that can be made whole for next to nothing, and one that costs half a unit."""
RANK = np.array([5, 2, -1, -1, -1, -1, -1])


def _solved() -> tuple[BoundedProgram, Vertex, Bounds]:
    program = BoundedProgram(
        np.array([-1e-3, 0.0, 1.0]),
        np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]]),
    )
    lower = np.array([-np.inf, -np.inf, 1.5, 1.0, 0.0, 0.0, 0.0])
    upper = np.array([np.inf, np.inf, 1.5, np.inf, 9.0, 9.0, 9.0])
    vertex = program.solve(lower, upper, program.start, np.inf)
    assert vertex.ending is Ending.OPTIMAL
    assert vertex.point[[COARSE, FINE]].tolist() == [1.5, 0.5]
    return program, vertex, (lower, upper)


def test_halves_that_cost_more_are_taken_before_a_higher_rank() -> None:
    program, vertex, bounds = _solved()
    by_rank = fractional_split(vertex, *bounds, RANK, 10.0)
    by_cost = Learned(np.inf).branch(program, vertex, bounds, RANK, 10.0, 0)
    assert by_rank is not None
    assert {half[1][COARSE] for half in by_rank} == {1.0, np.inf}
    assert by_cost is not None
    assert by_cost.rank == RANK[FINE]
    assert {half[1][FINE] for half in by_cost.halves} == {0.0, np.inf}
    assert by_cost.halves[1][0][FINE] == 1.0, "the half that has a solution comes last"
    assert by_cost.steps == (Step(FINE, DOWN, 0.5), Step(FINE, UP, 0.5))
    assert Learned().branch(program, vertex, bounds, np.full(7, -1), 10.0, 0) is None


def test_halves_are_solved_until_enough_is_known_of_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    program, vertex, bounds = _solved()
    alike, solved = np.where(RANK >= 0, 1, -1), 0
    solve = BoundedProgram.solve

    def counted(self: BoundedProgram, *args: Any) -> Vertex:
        nonlocal solved
        solved += 1
        return solve(self, *args)

    monkeypatch.setattr(BoundedProgram, "solve", counted)
    learned, times = Learned(reliable=2), list[int]()
    for _ in range(4):
        before = solved
        branch = learned.branch(program, vertex, bounds, alike, 10.0, 0)
        assert branch is not None
        assert branch.steps[0] is not None
        assert branch.steps[0].count == FINE
        times.append(solved - before)
    assert times == [4, 4, 2, 2], "in the end those of the one that promises most alone"


def test_stages_of_one_layer_begin_and_end_once() -> None:
    some = 0
    for seed in range(60):
        space, _, pool, _ = relaxed(random_problem(seed))
        folded, first = space.folded, len(space.sums.rank)
        sums = ColumnSums.of(folded, space.sums)
        columns = list(pool)
        added = sums.adds(folded, columns)[first:]
        assert (sums.most(folded)[first:] == 1.0).all()
        assert not sums.choices[first:].any()
        for position, stage in enumerate(folded.stages):
            own = [n for n, column in enumerate(columns) if column.stage == position]
            ends = sums.ways[position][first:].any(axis=(1, 2))
            assert not (stage.count > 1 and ends.any())
            if ends.any():
                some += 1
                begins_too = position > 0 and folded.stages[position - 1].count > 1
                times = begins_too + (position + 1 < len(folded.stages))
                assert (added[ends][:, own].sum(axis=0) == times).all()
    assert some > 10
