"""Small linear programs of which one after the other differs in bounds alone: the dual simplex method on dense tables.

The program is::

    minimise  cost . x    such that  lower <= (matrix x, x) <= upper

with bounds on the rows and, behind these, on the variables, of which more may be added at the end.
A basis that was optimal for other bounds stays dual feasible, so
a few pivots lead from one node of a search tree to the next, where a general solver takes milliseconds to begin. What is
proven does not depend on the pivots: any prices of the rows give a lower bound, and it is worked out from the program itself.

Letters in the shapes: M rows, N variables, T = M + N.

References:
    Koberstein, The dual simplex method: techniques for a fast and stable implementation, 2005 (bound flipping, steepest edges).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.primal_pivots import primal_pivots
from partitioner.placement.unthreaded import product, times

Floats = NDArray[np.float64]

FEASIBLE = 1e-9
"""Relative amount by which a bound may be broken."""
ROUNDED = 1e-7
"""By how much a bound may be missed, relative, where nothing is left that could mend it: rounding has added up."""
DUAL = 1e-9
"""Reduced costs that are as small as this may have the wrong sign."""
SMALLEST_PIVOT = 1e-9
"""Smaller numbers of a row of the table are taken for rounding errors."""
FIRM_PIVOT = 1e-6
"""Pivots below are avoided among candidates that are as good."""
DRIFT = 1e-9
"""Largest error of the product of a basis with its inverse."""
TILT = 1e-6
"""Relative size of what is added to costs so that hardly any two ways to go on are equal; the bound is without it."""
CLEARLY = 5e-7
"""Relative amount by which costs have to be above a cutoff for a program to be given up: more than the tilt makes of them."""
MAX_PIVOTS = 400


class Ending(Enum):
    """Says how the solution of a program ended."""

    OPTIMAL = "optimal"
    ABOVE_CUTOFF = "above cutoff"
    INFEASIBLE = "infeasible"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Basis:
    """Holds where to go on from.

    Attributes:
        basic: [M] which of the T are basic.
        at_upper: [T] which of the others are at their upper bounds.
        inverse: [M M] the inverse of the columns of the basic ones, if it is known.
    """

    basic: NDArray[np.int64]
    at_upper: NDArray[np.bool_]
    inverse: Floats | None = None


@dataclass(frozen=True)
class Vertex:
    """Holds the end of the method.

    Attributes:
        ending: How it ended.
        bound: Lower bound on the cost; infinite where there is no solution.
        basis: The last basis.
        point: [T] rows and variables.
        table: [M T] the last table: what the basic ones change by is minus a column times the change of its variable.
        reduced: [T] reduced costs, with the tilt.
    """

    ending: Ending
    bound: float
    basis: Basis
    point: Floats
    table: Floats
    reduced: Floats


class BoundedProgram:
    """Holds what all programs of a search have in common.

    Args:
        cost: [N] of each variable.
        matrix: [M N] the rows.
        tilt: Which way costs are tilted.
    """

    def __init__(self, cost: Floats, matrix: Floats, tilt: int = 0) -> None:
        self.num_rows, self.num_variables = matrix.shape
        self.cost = cost
        self.matrix = matrix
        self._wide = np.hstack([-np.eye(self.num_rows), matrix])
        size = np.maximum(1.0, np.abs(cost))
        added = np.random.default_rng(tilt).random(self.num_variables) * TILT * size
        self._tilted = np.concatenate([np.zeros(self.num_rows), cost + added])
        self._last: Vertex | None = None

    @property
    def start(self) -> Basis:
        """Returns the basis of the rows, which is dual feasible where variables of negative cost have an upper bound."""
        return Basis(np.arange(self.num_rows), self._tilted < 0, -np.eye(self.num_rows))

    def solve(self, lower: Floats, upper: Floats, basis: Basis, cutoff: float) -> Vertex:
        """Returns the optimum between some bounds [T], or that there is none below a cutoff.

        Args:
            lower: Least values.
            upper: Largest values.
            basis: Where to begin, found before some of the last variables were added or after; if it is neither dual feasible
                for these bounds nor the basis of a solution, the start is taken.
            cutoff: Costs from which on nothing is of interest.
        """
        num, basic = self.num_rows, basis.basic.copy()
        try:
            table, reduced = self._known(basis) or self._table(basis)
        except np.linalg.LinAlgError:
            return self.solve(lower, upper, self.start, cutoff)
        before = np.zeros(len(lower), bool)
        before[: len(basis.at_upper)] = basis.at_upper
        resting = np.ones(len(lower), bool)
        resting[basic] = False
        before = (before | np.isinf(lower)) & np.isfinite(upper)
        wrong = np.where(before, reduced > DUAL, reduced < -DUAL) & resting & (upper > lower)
        if wrong.any() and self._improved(table, reduced, basic, before, (lower, upper)):
            resting[:] = True
            resting[basic] = False
        endless = np.where(reduced < -DUAL, np.isinf(upper), (reduced > DUAL) & np.isinf(lower))
        if (resting & (endless | (np.isinf(lower) & np.isinf(upper)))).any():
            return self.solve(lower, upper, self.start, cutoff)
        at_upper = np.isfinite(upper) & ((reduced < 0) | np.isinf(lower) | (before & (reduced == 0)))
        movable, width = upper > lower, upper - lower
        ending = Ending.UNDECIDED
        point = np.zeros(len(lower))
        rest = np.where(resting, np.where(at_upper, upper, lower), 0.0)
        for _ in range(MAX_PIVOTS):
            value = -times(table, rest)
            low, high = lower[basic], upper[basic]
            broken = np.maximum(low - value, value - high)
            broken[broken <= FEASIBLE * (1.0 + np.abs(value))] = 0.0
            apart = broken.nonzero()[0]
            if not len(apart):
                ending = Ending.OPTIMAL
                point = rest
                point[basic] = value
                break
            if cutoff < np.inf and (
                self._tilted @ rest + self._tilted[basic] @ value > cutoff + CLEARLY * abs(cutoff)
            ):
                ending = Ending.ABOVE_CUTOFF
                break
            steepness = (table[apart, :num] ** 2).sum(axis=1)
            if not (np.isfinite(steepness) & (steepness > 0)).all():
                break  # rounding errors are all that is left of the table
            row = int(apart[np.argmax(broken[apart] ** 2 / steepness)])
            rises = bool(value[row] < low[row])
            pull = table[row] if rises else -table[row]
            towards = np.where(at_upper, pull > SMALLEST_PIVOT, pull < -SMALLEST_PIVOT)
            candidates = (resting & movable & towards).nonzero()[0]
            if not len(candidates) and not (broken > ROUNDED * (1.0 + np.abs(value))).any():
                ending = Ending.OPTIMAL
                point = rest
                point[basic] = value
                break
            if not len(candidates):
                certain = self._cannot_hold(-table[row, :num], lower, upper)
                ending = Ending.INFEASIBLE if certain else Ending.UNDECIDED
                break
            entering, passed = _entering(candidates, reduced, pull, width, float(broken[row]))
            at_upper[passed] = ~at_upper[passed]
            rest[passed] = np.where(at_upper[passed], upper[passed], lower[passed])
            table[row] /= table[row, entering]
            column = table[:, entering].copy()
            column[row] = 0.0
            changed = column.nonzero()[0]  # a fifth of the rows, mostly
            table[changed] -= column[changed, None] * table[row]
            reduced = reduced - reduced[entering] * table[row]
            leaving = basic[row]
            at_upper[leaving] = not rises
            rest[leaving], rest[entering] = lower[leaving] if rises else upper[leaving], 0.0
            resting[leaving], resting[entering] = True, False
            basic[row] = entering
            reduced[entering] = 0.0
        bound = np.inf if ending is Ending.INFEASIBLE else self.bound(reduced[:num], lower, upper)
        self._last = Vertex(ending, bound, Basis(basic, at_upper, -table[:, :num]), point, table, reduced)
        return self._last

    def firmly(self, lower: Floats, upper: Floats, basis: Basis) -> Vertex:
        """Returns the optimum, from the start or with another tilt where rounding has led the first way astray."""
        vertex = self.solve(lower, upper, basis, np.inf)
        if vertex.ending is Ending.UNDECIDED:
            vertex = self.solve(lower, upper, self.start, np.inf)
        if vertex.ending is Ending.UNDECIDED:
            other = BoundedProgram(self.cost, self.matrix, tilt=1)
            vertex = other.solve(lower, upper, other.start, np.inf)
        return vertex

    def _known(self, basis: Basis) -> tuple[Floats, Floats] | None:
        """Returns table and reduced costs of a basis if it is the last one found."""
        last = self._last
        if last is None or last.basis is not basis:
            return None
        return (last.table.copy(), last.reduced.copy()) if _is_firm(last.table, basis.basic) else None

    def _table(self, basis: Basis) -> tuple[Floats, Floats]:
        """Returns [M T] the table and [T] the reduced costs of a basis.

        The inverse that was kept with it serves, unless rounding has added up in it: its table then lacks the unit columns.
        """
        basic = basis.basic
        table = None if basis.inverse is None else self._table_of(basis.inverse, basic)
        if table is None or not _is_firm(table, basic):
            inverse = np.linalg.inv(self._wide[:, basic]).astype(np.float64, copy=False)
            table = self._table_of(inverse, basic)
        reduced = self._tilted - times(table.T, self._tilted[basic])
        reduced[basic] = 0.0
        return table, reduced

    def _table_of(self, inverse: Floats, basic: NDArray[np.int64]) -> Floats:
        """Returns [M T] the inverse [M M] of a basis times what the rows say: less itself, and times the matrix.

        The columns of basic rows in it are unit columns, and most rows are basic where few bounds are reached.
        """
        place = np.flatnonzero(basic < self.num_rows)
        own, reached = basic[place], np.ones(self.num_rows, bool)
        reached[own] = False
        through = product(inverse[:, reached], self.matrix[reached])
        through[place] -= self.matrix[own]
        return np.hstack([-inverse, through])

    def _improved(
        self,
        table: Floats,
        reduced: Floats,
        basic: NDArray[np.int64],
        at_upper: NDArray[np.bool_],
        bounds: tuple[Floats, Floats],
    ) -> bool:
        """Goes from a basis whose solution keeps the bounds to the cheapest; returns whether there was such a solution."""
        lower, upper = bounds
        rest = np.where(at_upper, upper, lower)
        rest[basic] = 0.0
        if not np.isfinite(rest).all():
            return False
        value = -times(table, rest)
        broken = np.maximum(lower[basic] - value, value - upper[basic])
        if (broken > FEASIBLE * (1.0 + np.abs(value))).any():
            return False
        primal_pivots(table, reduced, basic, at_upper, value, bounds, enough=DUAL)
        return True

    def bound(self, prices: Floats, lower: Floats, upper: Floats) -> float:
        """Returns what some prices [M] of the rows prove: the least of the costs less priced rows within the bounds."""
        num = self.num_rows
        prices = np.where(np.isinf(lower[:num]), np.minimum(prices, 0.0), prices)
        prices = np.where(np.isinf(upper[:num]), np.maximum(prices, 0.0), prices)
        return _least(np.concatenate([prices, self.cost - times(self.matrix.T, prices)]), lower, upper)

    def _cannot_hold(self, weights: Floats, lower: Floats, upper: Floats) -> bool:
        """Tells whether a weighed sum of the rows, each less what it says, is never zero in the bounds."""
        weighed = times(self._wide.T, weights)
        endless = np.isinf(lower) | np.isinf(upper)
        weighed[endless & (np.abs(weighed) <= SMALLEST_PIVOT)] = 0.0
        enough = FEASIBLE * float(np.abs(weighed).max(initial=1.0))
        return _least(weighed, lower, upper) > enough or _least(-weighed, lower, upper) > enough


def _is_firm(table: Floats, basic: NDArray[np.int64]) -> bool:
    """Tells whether the columns of the basic ones are unit columns, up to rounding."""
    apart, number = table[:, basic], np.arange(len(basic))
    apart[number, number] -= 1.0
    return bool(np.abs(apart).max(initial=0.0) < DRIFT)


def _entering(
    candidates: NDArray[np.int64], reduced: Floats, pull: Floats, width: Floats, broken: float
) -> tuple[int, NDArray[np.int64]]:
    """Returns what enters the basis, and what is passed on the way and goes to its other bound.

    As long as a bound stays broken when the next candidate has gone to its other bound, the candidate behind it is reached.
    """
    steep = np.abs(pull[candidates])
    ratio = np.abs(reduced[candidates]) / steep
    order = ratio.argsort(kind="stable")
    candidates, ratio, steep = candidates[order], ratio[order], steep[order]
    number = int((steep * width[candidates]).cumsum().searchsorted(broken))
    number = min(number, len(candidates) - 1)
    if steep[number] < FIRM_PIVOT:
        equal = (ratio <= ratio[number] * (1.0 + FEASIBLE) + FEASIBLE).nonzero()[0]
        number = int(equal[np.argmax(steep[equal])])
    passed = candidates[:number]
    return int(candidates[number]), passed[np.isfinite(width[passed])]


def _least(weights: Floats, lower: Floats, upper: Floats) -> float:
    """Returns the least weighed sum within some bounds."""
    extreme = np.where(weights > 0, lower, upper)
    used = weights != 0
    return float(weights[used] @ extreme[used])
