"""What a search holds and compares: the problem with its goal, placements with their values, and the outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column
from partitioner.placement.components import breakdown_vector
from partitioner.placement.count_sums import CountSums, count_sums
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.order import in_order
from partitioner.placement.polish import polish
from partitioner.placement.problem import Problem

CLOSE = 1e-10
"""Relative distance at which objective and bound are taken for the same number."""
ENOUGH = 5e-5
"""Relative gap at which the search for a placement of a problem with many arcs ends."""
MANY_ARCS = 600
"""Problems with more arcs are searched up to the gap ``ENOUGH``, and first among few of many variants."""


@dataclass(frozen=True)
class Placed:
    """Holds a placement in the form the search compares.

    Attributes:
        chosen: The variants.
        total: [D] its cost vector, summed by ``evaluate``.
        value: The goal's value.
        stages: For each stage its columns and how many instances make use of each.
    """

    chosen: Chosen
    total: NDArray[np.float64]
    value: float
    stages: tuple[Counter[Column], ...]


@dataclass(frozen=True)
class Found:
    """Holds the outcome of a search.

    Attributes:
        placed: The best placement, or None where none keeps the hard limits.
        bound: Lower bound on the goal's value; infinite where nothing keeps the hard limits.
        num_arcs: How many arcs of the blocks' graphs the largest integer program chose from.
        finished: Whether the integer programs came to their end; if not, there may be a placement where none was found.
    """

    placed: Placed | None
    bound: float
    num_arcs: int
    finished: bool

    def within(self, gap: float) -> bool:
        """Tells whether there is a placement, proven to be the best up to a relative gap."""
        return self.placed is not None and self.bound >= self.placed.value * (1 - gap)

    def is_enough(self, gap: float, limit: float) -> bool:
        """Tells whether no placement up to a limit is better than the one found, if any, by more than a relative gap."""
        best = limit if self.placed is None else min(limit, self.placed.value)
        return self.bound >= best * (1 - gap)


@dataclass(frozen=True)
class SearchSpace:
    """Holds what stays the same in a search.

    Attributes:
        problem: The problem.
        folded: The same with repeated blocks kept once.
        goal: What is minimised.
        unit: The size of the objective, roughly.
    """

    problem: Problem
    folded: Folded
    goal: Goal
    unit: float

    @cached_property
    def sums(self) -> CountSums:
        """Returns the sums of counts that integer programs over routes decide first."""
        return count_sums(self.folded)

    @property
    def is_large(self) -> bool:
        """Tells whether the problem has many arcs."""
        return self.folded.num_arcs > MANY_ARCS

    @property
    def gap(self) -> float:
        """Returns the relative gap at which the search may end."""
        return ENOUGH if self.is_large else CLOSE

    def place(self, stages: list[Counter[Column]]) -> Placed:
        """Returns the placement that is made of some columns."""
        last = len(self.problem.phases) - 1
        streams = [
            len(self.problem.phases) + i
            for i, (_, phase) in enumerate(self.problem.resources)
            if phase == last
        ]
        ordered = in_order(self.folded, stages, self.folded.first_tier, last, streams)
        chosen = tuple(tuple(column.picks for column in stage) for stage in ordered)
        total = breakdown_vector(breakdown(self.problem, chosen))
        return Placed(chosen, total, self.goal.value(total), tuple(stages))

    def polished(self, placed: Placed, stages: list[Counter[Column]]) -> Placed:
        """Returns a placement no worse than the one of some columns, with ties decided (see ``polish``)."""
        nicer = self.place(polish(self.folded, self.goal, stages))
        return nicer if nicer.value <= placed.value and self.goal.holds(nicer.total) else placed
