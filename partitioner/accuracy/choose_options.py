"""One option for each layer: the fewest bytes within a budget of loss (a multiple-choice knapsack), by integer program."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from partitioner.placement.highs import OPTIMAL, SolverError, integer_program

_SLACK = 1e-6
"""Part of the budget that is left, since the solver keeps constraints to 1e-7 of themselves."""


class Option(NamedTuple):
    """What a layer may do.

    Attributes:
        loss: What it loses, at least 0.
        read: What it reads, at least 0.
    """

    loss: float
    read: float


def choose_options(layers: Sequence[Sequence[Option]], budget: float) -> tuple[int, ...]:
    """Returns an option for each layer: of all choices whose losses sum to no more than the budget, one that reads the least.

    Of equal ones it is one that loses the least.

    Args:
        layers: Options of each; one of them loses nothing.
        budget: Largest sum of losses.
    """
    reads = np.array([option.read for options in layers for option in options])
    losses = np.array([option.loss for options in layers for option in options])
    starts = np.cumsum([0, *map(len, layers)])
    owner = np.repeat(np.arange(len(layers)), [len(options) for options in layers])
    one_each = csr_array((np.ones(len(reads)), (owner, np.arange(len(reads)))))
    largest = max(reads.max(), 1e-300)
    allowed = 1 - _SLACK if budget > 0 else 0.0
    within = csr_array(losses[None] / budget if budget > 0 else (losses[None] > 0).astype(float))
    rows = [([one_each], 1.0, 1.0), ([within], -np.inf, allowed)]
    least = _solve(reads / largest, rows)
    at_least = csr_array(reads[None] / largest)
    bound = float(reads @ least / largest) * (1 + 1e-9)
    chosen = _solve(losses / max(losses.max(), 1e-300), [*rows, ([at_least], -np.inf, bound)])
    return tuple(int(np.argmax(chosen[a:b])) for a, b in itertools.pairwise(starts))


def _solve(cost: np.ndarray, rows: Sequence[tuple[Sequence[csr_array], float, float]]) -> np.ndarray:
    bounds = (np.zeros(len(cost)), np.ones(len(cost)))
    result = integer_program(cost, np.ones(len(cost)), bounds, rows)
    if result.status != OPTIMAL:
        raise SolverError(f"the choice of layers was not solved: {result.message}")
    return np.round(result.x)
