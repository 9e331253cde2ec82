"""The dual simplex method against HiGHS on random programs, one after the other with other bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from partitioner.placement import bounded_simplex
from partitioner.placement.bounded_simplex import BoundedProgram, Ending

NUM_VARIABLES, NUM_ROWS = 9, 6


class RandomProgram:
    """A program whose variables have bounds, and whose rows may have none, one, two or equal ones."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.matrix = self.random.integers(-3, 4, (NUM_ROWS, NUM_VARIABLES)).astype(float)
        self.cost = self.random.integers(-4, 5, NUM_VARIABLES).astype(float)
        self.program = BoundedProgram(self.cost, self.matrix)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns new bounds of rows and variables."""
        lower = self.random.integers(-3, 1, NUM_VARIABLES).astype(float)
        upper = lower + self.random.integers(0, 5, NUM_VARIABLES)
        middle = self.matrix @ self.random.uniform(lower, upper + 0.2)
        low = middle - self.random.choice([0.0, 1.0, np.inf], NUM_ROWS)
        high = middle + self.random.choice([0.0, 2.0, np.inf], NUM_ROWS)
        return np.concatenate([low, lower]), np.concatenate([high, upper])

    def best(self, lower: np.ndarray, upper: np.ndarray) -> float:
        """Returns the optimum, infinite where there is none."""
        m = NUM_ROWS
        rows = LinearConstraint(self.matrix, lower[:m], upper[:m])  # pyright: ignore[reportArgumentType]
        box = Bounds(lower[m:], upper[m:])  # pyright: ignore[reportArgumentType]
        result = milp(self.cost, bounds=box, constraints=rows)
        return float(result.fun) if result.status == 0 else np.inf


@pytest.mark.parametrize("seed", range(40))
def test_optima_are_those_of_highs_from_any_basis_before(seed: int) -> None:
    given = RandomProgram(seed)
    basis, endings = given.program.start, set()
    for _ in range(8):
        lower, upper = given.bounds()
        best = given.best(lower, upper)
        vertex = given.program.solve(lower, upper, basis, np.inf)
        endings.add(vertex.ending)
        if np.isinf(best):
            assert (vertex.ending, vertex.bound) == (Ending.INFEASIBLE, np.inf)
            continue
        basis = vertex.basis
        assert vertex.ending is Ending.OPTIMAL
        assert vertex.bound == pytest.approx(best, abs=1e-3)
        assert vertex.bound <= best + 1e-9
        point = vertex.point
        assert (lower - 1e-7 <= point).all()
        assert (point <= upper + 1e-7).all()
        assert given.matrix @ point[NUM_ROWS:] == pytest.approx(point[:NUM_ROWS], abs=1e-7)
        assert given.cost @ point[NUM_ROWS:] == pytest.approx(best, abs=1e-3)
    assert Ending.OPTIMAL in endings


def test_what_is_above_a_cutoff_is_given_up_with_a_bound_that_says_so() -> None:
    given_up = 0
    for seed in range(40):
        given = RandomProgram(seed)
        lower, upper = given.bounds()
        best = given.best(lower, upper)
        if np.isinf(best):
            continue
        cutoff = best - 1.0
        vertex = given.program.solve(lower, upper, given.program.start, cutoff)
        given_up += vertex.ending is Ending.ABOVE_CUTOFF
        assert cutoff - 1e-3 <= vertex.bound <= best + 1e-9
    assert given_up >= 5


def test_any_prices_prove_a_bound() -> None:
    for seed in range(40):
        given = RandomProgram(seed)
        lower, upper = given.bounds()
        prices = given.random.normal(size=NUM_ROWS)
        assert given.program.bound(prices, lower, upper) <= given.best(lower, upper) + 1e-9


@pytest.mark.parametrize("seed", range(40))
def test_the_optimum_with_more_variables_is_found_from_the_one_without(seed: int) -> None:
    """Variables of all costs are added behind, at zero, so that the last solution stays one and is no longer the best."""
    given = RandomProgram(seed)
    lower, upper = given.bounds()
    known = given.program.solve(lower, upper, given.program.start, np.inf)
    if known.ending is not Ending.OPTIMAL:
        return
    more = 5
    columns = given.random.integers(-3, 4, (NUM_ROWS, more)).astype(float)
    matrix = np.hstack([given.matrix, columns])
    given.cost = np.concatenate([given.cost, given.random.integers(-6, 3, more)])
    given.matrix, given.program = matrix, BoundedProgram(given.cost, matrix)
    lower = np.concatenate([lower, np.zeros(more)])
    upper = np.concatenate([upper, given.random.choice([0.5, 2.0, 9.0], more)])
    found = given.program.solve(lower, upper, known.basis, np.inf)
    assert found.ending is Ending.OPTIMAL
    assert found.bound == pytest.approx(given.best(lower, upper), abs=1e-3)
    assert (lower - 1e-7 <= found.point).all()
    assert (found.point <= upper + 1e-7).all()


@pytest.mark.parametrize("seed", range(50, 53))
def test_a_row_that_lost_its_bounds_does_not_rest_at_infinity(seed: int) -> None:
    """Costs next to nothing leave it a reduced cost of zero, so the basis before looks dual feasible."""
    given = RandomProgram(seed)
    free = given.random.random(NUM_VARIABLES) < 0.5
    program = BoundedProgram(np.where(free, 0.0, given.cost) * 1e-6, given.matrix)
    basis = program.start
    for _ in range(8):
        lower, upper = given.bounds()
        vertex = program.solve(lower, upper, basis, np.inf)
        assert (vertex.ending is Ending.INFEASIBLE) == np.isinf(given.best(lower, upper))
        if vertex.ending is Ending.OPTIMAL:
            basis = vertex.basis
            assert np.isfinite(vertex.point).all()


@pytest.mark.parametrize("seed", [1, 2, 6, 8, 12, 15])
def test_of_equal_ways_on_none_without_an_end_is_passed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """A variable with no upper bound and next to no weight is as good as others, and must not go to its other bound."""
    monkeypatch.setattr(bounded_simplex, "TILT", 0.0)
    random = np.random.default_rng(seed)
    rows, columns = 4, 8
    matrix = random.choice([0.0, 1.0, 2.0, -1.0, 3e-7, 5e-7, 1e-7], (rows, columns))
    cost = random.integers(0, 2, columns).astype(float)
    low, high = random.choice([0.5, 1.0, 2.0, -np.inf], rows), np.full(rows, np.inf)
    most = random.choice([1.0, 4.0, np.inf], columns)
    program = BoundedProgram(cost, matrix)
    lower, upper = np.concatenate([low, np.zeros(columns)]), np.concatenate([high, most])
    vertex = program.solve(lower, upper, program.start, np.inf)
    box = Bounds(np.zeros(columns), most)  # pyright: ignore[reportArgumentType]
    best = milp(cost, bounds=box, constraints=LinearConstraint(matrix, low, high))  # pyright: ignore[reportArgumentType]
    assert vertex.ending is Ending.OPTIMAL
    assert np.isfinite(vertex.point).all()
    assert cost @ vertex.point[rows:] == pytest.approx(best.fun, rel=1e-6, abs=1e-6)
    assert vertex.bound <= best.fun * (1 + 1e-6)


def test_what_a_wide_variable_makes_up_for_by_a_tiny_weight_is_not_called_impossible() -> None:
    program = BoundedProgram(np.array([1.0, 1.0]), np.array([[1.0, 1e-10]]))
    lower, upper = np.array([2.0, 0.0, 0.0]), np.array([2.0, 1.95, 1e9])
    vertex = program.solve(lower, upper, program.start, np.inf)
    assert vertex.ending is not Ending.INFEASIBLE
    upper[2] = 1e8
    assert program.solve(lower, upper, program.start, np.inf).ending is Ending.INFEASIBLE


def test_rounding_errors_that_nothing_can_mend_are_let_be() -> None:
    program = BoundedProgram(np.array([1.0]), np.array([[1.0], [1.0]]))
    within = np.array([1.0, 1.0 + 5e-8, 0.0]), np.array([1.0, 1.0 + 5e-8, 2.0])
    apart = np.array([1.0, 1.0 + 5e-6, 0.0]), np.array([1.0, 1.0 + 5e-6, 2.0])
    assert program.firmly(*within, program.start).ending is Ending.OPTIMAL
    assert program.firmly(*apart, program.start).ending is Ending.INFEASIBLE
