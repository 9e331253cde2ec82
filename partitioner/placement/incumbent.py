"""The best placement of a search with columns made on demand, and the ways in which better ones are looked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from partitioner.placement.among_columns import among_near
from partitioner.placement.bounded_simplex import Floats, Vertex
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.columns import Column
from partitioner.placement.counted_columns import counted_columns
from partitioner.placement.exchange import Exchanges, Placement
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes, kept_routes

DISTANCES = (6e-4, 2e-3, 6e-3, 2e-2)
"""Relative distances from the root's bound within which a placement is looked for along routes."""
MOST_ROUTES = 600
"""More routes are not searched."""
BETTER = 0.25
"""Part of the gap by which a placement has to be better to be looked for among columns."""
SLIGHTLY = 1e-6
"""Relative amount by which one along the routes of a solution has to be better."""


class Along(Protocol):
    """Looks for a placement along some routes up to a value."""

    def __call__(self, routes: Routes, value: float, *, general: bool = False) -> Placement | None:
        """Returns one if it is found soon; by a general solver if asked for."""
        ...


class Incumbent:
    """Keeps the best placement.

    Args:
        folded: The problem.
        goal: What is minimised.
        root: The solved relaxation.
        first: Its columns.
        limit: What the goal's value may be at most.
        known: A placement of that value, if one is known.
        gap: Relative gap that is enough.
        worth: Returns the value of a placement, infinite where it breaks a limit.
        along: Looks for placements along routes.

    Attributes:
        value: Of the best one, or the limit.
        stages: The best one.
        closely: Whether those that are a little better are looked for among columns, too.
    """

    def __init__(
        self,
        folded: Folded,
        goal: Goal,
        root: Relaxation,
        first: Sequence[Column],
        limit: float,
        known: Placement | None,
        gap: float,
        worth: Callable[[Placement], float],
        along: Along,
    ) -> None:
        self._goal, self._root, self._first, self._gap = goal, root, first, gap
        self._worth, self._along = worth, along
        self._exchanges = Exchanges(folded, goal, root.price, root.bound)
        self.value, self.stages = limit, known
        self.closely = False

    @property
    def enough(self) -> float:
        """Returns the bound that proves it well enough."""
        return self.value * (1.0 - self._gap)

    @property
    def aims(self) -> tuple[float, ...]:
        """Returns the values up to which better ones are looked for, in turn.

        At first these are better by the whole gap: where one that is a little better has been taken, none may be left that is.
        """
        return (self.enough, self.value * (1.0 - BETTER * self._gap)) if self.closely else (self.enough,)

    def take(self, stages: Placement, value: float) -> None:
        """Takes a placement of some value if that is better."""
        if value < self.value:
            self.stages, self.value = stages, value

    def added_to(self, program: ColumnProgram) -> ColumnProgram:
        """Returns a program with the columns of the placement that it misses, if any, added."""
        known = {c.key for c in program.columns}
        missing = {c.key: c for counted in self.stages or () for c in counted if c.key not in known}
        return program.extended(tuple(missing.values())) if missing else program

    def follow(self, program: ColumnProgram) -> None:
        """Looks for a better placement along all routes that the root's columns are parts of, if these are few."""
        bound = self._root.bound
        for distance in DISTANCES:
            value = min(self.enough, bound * (1.0 + distance))
            routes = kept_routes(program.folded, self._goal, self._root, value, thin=True, along=self._first)
            if routes is None or len(routes.stage) > MOST_ROUTES:
                return
            stages = self._along(routes, value)
            if stages is not None:
                self._take_better(stages)
            if stages is not None or value == self.enough:
                return

    def settle(self, program: ColumnProgram, vertex: Vertex, low: Floats, high: Floats) -> None:
        """Looks for a better placement along the routes that the columns of a solution are parts of, with other variants."""
        proof = program.priced(vertex, low, high)
        used = [c for c, n in zip(program.columns, program.shares(vertex), strict=False) if n > 0]
        routes = kept_routes(program.folded, self._goal, proof, self.value, thin=True, along=used)
        if routes is not None and routes.size <= MOST_ROUTES:
            stages = self._along(routes, self.value * (1.0 - SLIGHTLY), general=True)
            if stages is not None:
                self._take_better(stages)

    def count(self, program: ColumnProgram, vertex: Vertex, box: tuple[Floats, Floats] | None) -> None:
        """Looks for a better placement made of columns that cost little at the prices of a solution, and of the best one's."""
        kept = () if self.stages is None else tuple(c for counted in self.stages for c in counted)
        for aim in self.aims:
            stages = counted_columns(program, vertex, box, aim, kept)
            if stages is not None:
                self._take_better(stages)
                return

    def choose(self, program: ColumnProgram, vertex: Vertex) -> None:
        """Looks for a better placement among all columns near those of the best one, and those of a solution."""
        if self.stages is None:
            return
        used = [c for c, n in zip(program.columns, program.shares(vertex), strict=False) if n > 0]
        for aim in self.aims:
            stages = among_near(program.folded, self._goal, self._exchanges, self.stages, used, aim)
            if stages is not None:
                self._take_better(stages)
                return

    def _take_better(self, stages: Placement) -> None:
        for each in (stages, self._exchanges.improved(stages)):
            self.take(each, self._worth(each))
