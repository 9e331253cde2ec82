"""What is minimised and what must hold, as one form for two questions: how fast, and how much is missing.

A component k of the cost vector (``components``) is *soft* in a group g, *hard*, or not asked for::

    minimise  sum over groups g of T[g],   T[g] >= 0,   T[g] >= total[k] - limit[k]  for soft k of g,
    such that total[k] <= limit[k]         for hard k

With the phases as groups this is the objective of a placement; with the tiers as groups and their capacities as soft limits it
is the least number of bytes that are missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.problem import Problem

HARD = -1
UNASKED = -2
SCALE = 1e4


@dataclass(frozen=True)
class Goal:
    """Holds a question about the sums of cost vectors.

    Attributes:
        group: [D] the group of each component, ``HARD`` or ``UNASKED``.
        limit: [D] limits, zero where nothing is asked.
        num_groups: Number of groups.
    """

    group: NDArray[np.int64]
    limit: NDArray[np.float64]
    num_groups: int

    @cached_property
    def asked(self) -> NDArray[np.int64]:
        """Returns the components that are soft or hard."""
        return np.flatnonzero(self.group != UNASKED)

    @cached_property
    def soft(self) -> NDArray[np.int64]:
        """Returns the soft components."""
        return np.flatnonzero(self.group >= 0)

    @cached_property
    def hard(self) -> NDArray[np.int64]:
        """Returns the hard components."""
        return np.flatnonzero(self.group == HARD)

    def members(self, components: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns [components, groups] with a one where a component is soft in a group."""
        return (self.group[components][:, None] == np.arange(self.num_groups)).astype(float)

    def value(self, total: NDArray[np.float64]) -> float:
        """Returns the sum over the groups for a total vector [D]; hard limits are not looked at."""
        over = total - self.limit
        return math.fsum(max(0.0, over[self.group == g].max(initial=0.0)) for g in range(self.num_groups))

    def values(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the value of each total vector [n D], rounded less carefully than :meth:`value`."""
        over = totals - self.limit
        groups = [over[:, self.group == g].max(axis=1, initial=0.0) for g in range(self.num_groups)]
        return np.sum(groups, axis=0)

    def most_on_one(self, value: float) -> NDArray[np.float64]:
        """Returns [D] what a single part of a placement may cost if the placement keeps the hard limits and a value."""
        most = np.where(self.group == HARD, self.limit, self.limit + value)
        return np.where(self.group == UNASKED, np.inf, most + 1e-9 * np.abs(most))

    def step(self, value: float) -> float:
        """Returns what seconds or missing bytes are divided by where the goal's value is at most some value.

        The absolute tolerance of the integer solver, 1e-6, then is 1e-10 of that value, or 1e-13 of a soft limit.
        """
        return (max(value, 1e-3 * float(np.abs(self.limit[self.soft]).max(initial=0.0))) or 1.0) / SCALE

    def row_scale(self, most: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
        """Returns [D] what rows are divided by: their larger numbers come near ``SCALE``.

        The absolute tolerance of the linear solver, 1e-6, then is 1e-10 of the objective or of a capacity.

        Args:
            most: [D] a vector that no placement exceeds.
            unit: The size of the objective, roughly.
        """
        hard = np.maximum(np.abs(self.limit), most * 1e-3)
        scale = np.where(self.group == HARD, hard, unit) / SCALE
        return np.where(scale > 0, scale, 1.0)

    def eased(self, amount: NDArray[np.float64]) -> Goal:
        """Returns the goal with so much more of what is limited [D]."""
        return replace(self, limit=np.where(self.group == HARD, self.limit + amount, self.limit))

    def worth(self, amount: NDArray[np.float64]) -> float:
        """Returns by how much the value falls at most where a total vector falls by an amount [D]."""
        return math.fsum(amount[self.group == g].max(initial=0.0) for g in range(self.num_groups))

    def holds(self, total: NDArray[np.float64]) -> bool:
        """Tells whether a total vector [D] keeps the hard limits."""
        return bool((total <= self.limit)[self.group == HARD].all())


def fastest(problem: Problem, most: NDArray[np.float64]) -> Goal:
    """Returns the goal of least seconds within the capacities.

    Args:
        problem: The problem.
        most: [D] a vector no placement exceeds; what can never matter is not asked for.
    """
    group = [
        *range(len(problem.phases)),
        *(phase for _, phase in problem.resources),
        *(HARD for _ in problem.capacities),
    ]
    limit = [0.0] * (len(problem.phases) + len(problem.resources)) + list(problem.capacities)
    return _goal(group, limit, len(problem.phases), most)


def least_missing(problem: Problem, most: NDArray[np.float64]) -> Goal:
    """Returns the goal of least bytes beyond the capacities, summed over the tiers."""
    times = len(problem.phases) + len(problem.resources)
    group = [UNASKED] * times + list(range(len(problem.capacities)))
    limit = [0.0] * times + list(problem.capacities)
    return _goal(group, limit, len(problem.capacities), most)


def _goal(group: list[int], limit: list[float], num_groups: int, most: NDArray[np.float64]) -> Goal:
    groups, limits = np.array(group, np.int64), np.array(limit)
    groups[most <= limits] = UNASKED
    limits[groups == UNASKED] = 0.0
    return Goal(groups, limits, num_groups)
