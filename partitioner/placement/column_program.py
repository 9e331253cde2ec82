"""The relaxation over some columns between bounds on sums of counts, as a program that goes from node to node.

It says what ``master`` says, and besides bounds the sums (``count_sums``) that a search decides. These and the hard limits
may be broken at a price, so that there is always a solution whose prices tell which columns are missing.

Letters in the shapes: C columns, D components, K kinds, S sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.balance import Boundaries, boundaries
from partitioner.placement.bounded_simplex import Basis, BoundedProgram, Floats, Vertex
from partitioner.placement.cheapest import CheapestPaths, cheapest_model, paths_of_choices
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.columns import Column, column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import SCALE, Goal
from partitioner.placement.proof import Proof
from partitioner.placement.unthreaded import product, times

NEGATIVE = 1e-9
"""Share of the objective by which a column has to lower it to be added."""

LARGEST = 1e3
"""What takes more of a hard limit than this many times all of it is taken for so much."""


@dataclass(frozen=True)
class Priced(Proof):
    """Holds what the prices of a solution prove, and what they ask for.

    Attributes:
        missing: Columns that lower the relaxation's value, the best of each stage first.
    """

    missing: tuple[Column, ...]


@dataclass(frozen=True)
class ColumnProgram:
    """Holds the program.

    Rows are soft limits, hard limits, nodes, stages and sums. Variables are the boundaries between stages, times, what hard
    limits and sums are exceeded or missed by, and columns.

    Attributes:
        folded: The problem.
        goal: What is minimised.
        value: The most that the goal's value may be.
        sums: What is branched on.
        columns: The columns.
        rows: [rows C] what each column adds to the rows.
    """

    folded: Folded
    goal: Goal
    value: float
    sums: ColumnSums
    columns: tuple[Column, ...]
    rows: Floats

    @classmethod
    def of(
        cls, folded: Folded, goal: Goal, value: float, sums: ColumnSums, columns: Iterable[Column]
    ) -> ColumnProgram:
        """Returns the program over some columns."""
        empty = cls(folded, goal, value, sums, (), np.zeros((0, 0)))
        return replace(empty, rows=np.zeros((empty.num_rows, 0))).extended(tuple(columns))

    @cached_property
    def step(self) -> float:
        """Returns what seconds are counted in."""
        return self.goal.step(self.value)

    @cached_property
    def num_rows(self) -> int:
        """Returns the number of rows."""
        limits = len(self.goal.soft) + len(self.goal.hard)
        return limits + self.meeting.num_nodes + len(self.folded.stages) + self.sums.size

    @property
    def first_sum(self) -> int:
        """Returns the row of the first sum."""
        return self.num_rows - self.sums.size

    @cached_property
    def num_fixed(self) -> int:
        """Returns the number of variables before the columns."""
        return len(self.meeting.upper) + self.goal.num_groups + len(self.goal.hard) + 2 * self.sums.size

    @cached_property
    def program(self) -> BoundedProgram:
        """Returns costs and rows."""
        goal, meeting = self.goal, self.meeting
        soft, hard, nodes = len(goal.soft), len(goal.hard), meeting.num_nodes
        nummeeting, num_sums = len(meeting.upper), self.sums.size
        fixed = np.zeros((self.num_rows, self.num_fixed))
        fixed[soft + hard : soft + hard + nodes, :nummeeting] = meeting.balance.toarray()
        fixed[:soft, nummeeting : nummeeting + goal.num_groups] = -goal.members(goal.soft)
        first = nummeeting + goal.num_groups
        fixed[soft : soft + hard, first : first + hard] = -np.eye(hard)
        fixed[self.first_sum :, first + hard : first + hard + num_sums] = -np.eye(num_sums)
        fixed[self.first_sum :, first + hard + num_sums :] = np.eye(num_sums)
        cost = np.zeros(self.num_fixed + len(self.columns))
        cost[nummeeting:first] = 1.0
        cost[first : self.num_fixed] = SCALE
        return BoundedProgram(cost, np.hstack([fixed, self.rows]))

    def bounds(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Returns the bounds of rows and variables for bounds [S] on the sums."""
        goal, meeting = self.goal, self.meeting
        counts = np.array([float(stage.count) for stage in self.folded.stages])
        none = np.full(len(goal.soft) + len(goal.hard), -np.inf)
        nodes = np.zeros(meeting.num_nodes)
        broken = len(goal.hard) + 2 * self.sums.size
        lower = [none, nodes, counts, low, meeting.lower, np.zeros(self.num_fixed - len(meeting.upper))]
        upper = [
            goal.limit[goal.soft] / self.step,
            goal.limit[goal.hard] / self._room,
            nodes,
            counts,
            high,
            meeting.upper,
            np.full(goal.num_groups, max(10.0 * SCALE, 2.0 * goal.value(self.folded.most) / self.step)),
            np.full(broken, LARGEST * SCALE * counts.sum()),
            counts[[c.stage for c in self.columns]],
        ]
        return np.concatenate([*lower, np.zeros(len(self.columns))]), np.concatenate(upper)

    def priced(self, vertex: Vertex, low: Floats, high: Floats) -> Priced:
        """Returns what the prices of a solution between bounds [S] on the sums prove, and which columns they miss."""
        goal, folded = self.goal, self.folded
        prices = vertex.reduced[: self.num_rows]
        soft, hard = len(goal.soft), len(goal.hard)
        price = np.zeros(len(goal.group))
        price[goal.soft] = np.maximum(0.0, -prices[:soft])
        for group in range(goal.num_groups):
            price[goal.group == group] /= max(1.0, float(price[goal.group == group].sum()))
        price[goal.hard] = np.maximum(0.0, -prices[soft : soft + hard]) * self.step / self._room
        extra = -prices[self.first_sum :] * self.step
        paths = paths_of_choices(folded, price, times(self.sums.choices.T, extra))
        surcharges = [np.tensordot(extra, ways, 1) for ways in self.sums.ways] if self.sums.size else None
        model = cheapest_model(folded, paths, surcharges)
        extra[np.abs(extra) <= NEGATIVE * self.value / SCALE] = 0.0
        most = float(np.where(extra > 0, np.minimum(high, self._most), low) @ extra)
        bound = model.price - float(price @ goal.limit) - most
        return Priced(bound, price, paths, model, self._missing(model.prices, paths, prices * self.step))

    def of_sums(self, values: Floats) -> Floats:
        """Returns [S] the part of values of rows and variables that belongs to the sums."""
        return values[self.first_sum : self.num_rows]

    def exceeded(self, vertex: Vertex) -> float:
        """Returns by which share of a hard limit a solution exceeds it at most."""
        first = self.num_rows + len(self.meeting.upper) + self.goal.num_groups
        return float(vertex.point[first : first + len(self.goal.hard)].max(initial=0.0)) / SCALE

    def shares(self, vertex: Vertex) -> Floats:
        """Returns [C] how many instances of a solution make use of each column."""
        return vertex.point[self.num_rows + self.num_fixed :]

    def extended(self, new: tuple[Column, ...]) -> ColumnProgram:
        """Returns the program with more columns."""
        return replace(self, columns=self.columns + new, rows=np.hstack([self.rows, self._rows_of(new)]))

    def with_sums(self, new: ColumnSums) -> ColumnProgram:
        """Returns the program with more sums."""
        sums = self.sums.and_more(new)
        return ColumnProgram.of(self.folded, self.goal, self.value, sums, self.columns)

    def taken_up(self, basis: Basis) -> Basis:
        """Returns where to go on from a basis of the program before the last sums came: the rows of these are basic."""
        before = len(basis.basic)
        new = self.num_rows - before
        if not new:
            return basis
        missed = before + self.num_fixed - self.sums.size - new
        place = np.arange(len(basis.at_upper))
        for first in (before, missed, missed + self.sums.size - new):
            place[first:] += new
        at_upper = np.zeros(len(place) + 3 * new, bool)
        at_upper[place] = basis.at_upper
        old = place[basis.basic]
        basic = np.concatenate([old, np.arange(before, self.num_rows)])
        if basis.inverse is None:
            return Basis(basic, at_upper)
        variables = np.flatnonzero(old >= self.num_rows)
        in_new = np.zeros((new, before))
        in_new[:, variables] = self.program.matrix[before:, old[variables] - self.num_rows]
        blocks = [[basis.inverse, np.zeros((before, new))], [product(in_new, basis.inverse), -np.eye(new)]]
        return Basis(basic, at_upper, np.block(blocks))

    def _missing(
        self, ways: tuple[Floats, ...], paths: tuple[CheapestPaths, ...], prices: Floats
    ) -> tuple[Column, ...]:
        known = {c.key for c in self.columns}
        first = len(self.goal.soft) + len(self.goal.hard)
        found: list[Column] = []
        for position, (stage, way, path) in enumerate(zip(self.folded.stages, ways, paths, strict=True)):
            node = first + int(self.meeting.first_node[position])
            entering = prices[node : node + len(stage.graph.entries)]
            leaving = prices[node + stage.onward]
            reduced = way - prices[first + self.meeting.num_nodes + position]
            reduced = reduced - entering[:, None] + leaving[None, :]
            for entry, leave in np.argwhere(reduced < -NEGATIVE * self.value).tolist():
                picks = path.picks(entry, leave)
                if (position, entry, picks) not in known:
                    found.append(column(position, stage.graph, entry, picks))
        return tuple(found)

    @cached_property
    def meeting(self) -> Boundaries:
        """Returns the boundary variables, which come first."""
        return boundaries(self.folded)

    @cached_property
    def _most(self) -> Floats:
        """Returns [S] what no sum exceeds."""
        return self.sums.most(self.folded)

    @cached_property
    def _room(self) -> NDArray[np.float64]:
        limit = self.goal.limit[self.goal.hard]
        return np.where(limit > 0, limit, 1.0) / SCALE

    def _rows_of(self, columns: tuple[Column, ...]) -> Floats:
        """Returns [rows columns]."""
        goal, meeting, folded = self.goal, self.meeting, self.folded
        rows = np.zeros((self.num_rows, len(columns)))
        if not columns:
            return rows
        number = np.arange(len(columns))
        vectors = np.stack([c.vector for c in columns], axis=1)
        soft, hard = len(goal.soft), len(goal.hard)
        rows[:soft] = vectors[goal.soft] / self.step
        rows[soft : soft + hard] = np.minimum(vectors[goal.hard] / self._room[:, None], LARGEST * SCALE)
        stage = np.array([c.stage for c in columns])
        first = soft + hard + meeting.first_node[stage]
        onward = np.array([folded.stages[c.stage].onward[c.leave] for c in columns])
        np.add.at(rows, (first + [c.entry for c in columns], number), 1.0)
        np.add.at(rows, (first + onward, number), -1.0)
        rows[soft + hard + meeting.num_nodes + stage, number] = 1.0
        rows[self.first_sum :] = self.sums.adds(folded, columns)
        return rows
