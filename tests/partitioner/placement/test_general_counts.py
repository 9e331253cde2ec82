"""The general solver answers as the search by sums of counts does, and says so where it comes to its limit."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from partitioner.placement.bounded_simplex import BoundedProgram
from partitioner.placement.count_search import Counted, best_counts
from partitioner.placement.general_counts import general_counts

NUM_VARIABLES, NUM_ROWS, MOST = 8, 4, 4.0


def both(seed: int, cutoff: float = 1e9, *, summed: bool = False) -> tuple[np.ndarray, Counted, Counted]:
    """Returns costs, and what the search by sums and the general solver find, with the sum as a variable or without."""
    random = np.random.default_rng(seed)
    matrix = random.integers(-2, 6, (NUM_ROWS, NUM_VARIABLES)).astype(float)
    matrix[-1] = 1.0  # a sum without bounds, as those that are only branched on
    cost = random.integers(1, 9, NUM_VARIABLES) + random.random(NUM_VARIABLES)
    low = np.concatenate([random.integers(0, 9, NUM_ROWS - 1) + 0.5, [-np.inf]])
    high = np.concatenate([low[:-1] + random.choice([0.7, 3.0, np.inf], NUM_ROWS - 1), [np.inf]])
    lower = np.concatenate([low, np.zeros(NUM_VARIABLES)])
    upper = np.concatenate([high, np.full(NUM_VARIABLES, MOST)])
    rank = np.concatenate([np.full(NUM_ROWS - 1, -1), [1], np.zeros(NUM_VARIABLES)]).astype(np.int64)
    found = [
        search(BoundedProgram(cost, matrix), lower, upper, rank, gap=1e-9, cutoff=cutoff, max_nodes=5000)
        for search in (best_counts, partial(general_counts, summed=summed))
    ]
    return cost, found[0], found[1]


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_both_searches_find_the_same(seed: int, summed: bool) -> None:
    cost, own, general = both(seed, summed=summed)
    assert own.finished
    assert general.finished
    assert (own.solution is None) == (general.solution is None)
    if own.solution is None or general.solution is None:
        assert general.bound == np.inf
        return
    least = float(cost @ own.solution)
    assert cost @ general.solution == pytest.approx(least, rel=1e-6)
    assert general.bound == pytest.approx(least, rel=1e-6)
    assert len(general.solution) == NUM_VARIABLES
    _, _, below = both(seed, cutoff=least * 0.99, summed=summed)
    assert below.solution is None
    assert below.bound >= least * 0.99


def test_a_tree_at_its_limit_keeps_a_bound_that_counts() -> None:
    random = np.random.default_rng(5)
    size = 40
    weight = random.integers(40, 90, size).astype(float)
    matrix = np.stack([weight, random.permutation(weight)])
    program = BoundedProgram(weight + random.random(size), matrix)
    lower = np.concatenate([[997.5, 998.5], np.zeros(size)])
    upper = np.concatenate([[1002.5, 1001.5], np.ones(size)])
    rank = np.concatenate([[-1, -1], np.zeros(size)]).astype(np.int64)
    found, whole = (
        general_counts(program, lower, upper, rank, gap=1e-9, cutoff=1e9, max_nodes=nodes)
        for nodes in (1, 20_000)
    )
    assert whole.finished
    assert whole.solution is not None
    least = float(program.cost @ whole.solution)
    assert found.bound <= least + 1e-6
    assert found.bound > 0.9 * least
