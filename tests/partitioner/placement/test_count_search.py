"""Branch and bound on counts against HiGHS, and what sums that are decided first are good for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from partitioner.placement.bounded_simplex import BoundedProgram
from partitioner.placement.count_search import Counted, best_counts

NUM_VARIABLES, NUM_ROWS = 8, 4


def searched(
    cost: np.ndarray,
    matrix: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    most: float,
    rank: np.ndarray | None = None,
    cutoff: float = 1e9,
    max_nodes: int = 5000,
) -> Counted:
    """Returns the search over variables from 0 to ``most``."""
    n, m = len(cost), len(matrix)
    ranks = np.concatenate([np.full(m, -1), np.zeros(n)]) if rank is None else rank
    return best_counts(
        BoundedProgram(cost, matrix),
        np.concatenate([rows[0], np.zeros(n)]),
        np.concatenate([rows[1], np.full(n, most)]),
        ranks.astype(np.int64),
        gap=0.0,
        cutoff=cutoff,
        max_nodes=max_nodes,
    )


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_is_that_of_highs(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.integers(-2, 6, (NUM_ROWS, NUM_VARIABLES)).astype(float)
    cost = random.integers(-3, 8, NUM_VARIABLES).astype(float)
    low = random.integers(0, 9, NUM_ROWS) + 0.5
    high = low + random.choice([0.7, 3.0, np.inf], NUM_ROWS)
    box = Bounds(np.zeros(NUM_VARIABLES), np.full(NUM_VARIABLES, 4.0))  # pyright: ignore[reportArgumentType]
    rows = LinearConstraint(matrix, low, high)  # pyright: ignore[reportArgumentType]
    best = milp(cost, integrality=np.ones(NUM_VARIABLES), bounds=box, constraints=rows)
    found = searched(cost, matrix, (low, high), 4.0)
    assert found.finished
    if best.status != 0:
        assert found.solution is None
        return
    assert found.solution is not None
    assert cost @ found.solution == pytest.approx(best.fun, abs=1e-6)
    assert best.fun - 1e-3 <= found.bound <= best.fun + 1e-6
    below = searched(cost, matrix, (low, high), 4.0, cutoff=float(best.fun) - 0.5)
    assert below.solution is None
    assert below.finished
    assert below.bound >= best.fun - 0.5 - 1e-3


def test_a_sum_that_is_decided_first_spares_its_parts() -> None:
    """Forty alike weights fill a room to half a weight: only their sum tells that the last half is lost."""
    num = 40
    size, gain = np.full(num, 2.0), 1.0 + 1e-6 * np.arange(num)
    rows = np.stack([size, np.ones(num)])
    bounds = (np.array([-np.inf, -np.inf]), np.array([41.0, np.inf]))
    plain = np.concatenate([[-1, -1], np.zeros(num)])
    with_sum = np.concatenate([[-1, 1], np.zeros(num)])
    first = searched(-gain, rows, bounds, 1.0, with_sum)
    assert first.finished
    assert first.num_nodes <= 5
    limited = searched(-gain, rows, bounds, 1.0, plain, max_nodes=200)
    assert not limited.finished
    assert first.solution is not None
    assert -gain @ first.solution == pytest.approx(-np.sort(gain)[-20:].sum())
    assert limited.bound < first.bound


def test_the_bound_is_told_where_the_search_ends_early() -> None:
    random = np.random.default_rng(5)
    matrix = random.integers(1, 30, (3, 20)).astype(float)
    cost = -random.integers(5, 30, 20).astype(float)
    high = matrix.sum(axis=1) / 3 + 0.5
    whole = searched(cost, matrix, (np.full(3, -np.inf), high), 1.0)
    early = searched(cost, matrix, (np.full(3, -np.inf), high), 1.0, max_nodes=10)
    assert whole.solution is not None
    assert whole.finished
    assert not early.finished
    assert early.bound <= cost @ whole.solution + 1e-6
