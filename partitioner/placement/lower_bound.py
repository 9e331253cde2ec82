"""Bounds that need no search and no graph: every op at its fastest, or at the prices that another problem ended with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.components import variant_vectors
from partitioner.placement.problem import Problem

Prices = Mapping[tuple[str, str], float]
"""What a second of a chain or of a load, or a byte of a capacity, is worth, by its name and phase."""
NO_PRICES: Prices = MappingProxyType({})


def capacity_name(tier: str) -> tuple[str, str]:
    """Returns the name of the price of a tier's bytes."""
    return "bytes", tier


def named_prices(problem: Problem, price: Sequence[float]) -> Prices:
    """Returns the prices of a problem's components by name, for other problems of the same model."""
    return dict(zip(_names(problem), price, strict=True))


def prices_of(problem: Problem, prices: Prices) -> NDArray[np.float64]:
    """Returns [D] the price of each component of a problem's cost vectors; 0 for one that has none."""
    return np.array([prices.get(name, 0.0) for name in _names(problem)])


@dataclass(frozen=True, eq=False)
class LowerBound:
    """Holds a bound on the objective of all placements of a problem, as a function of its capacities.

    Attributes:
        fastest_s: Of the placement whose ops are the fastest.
        priced_s: Of the cheapest placement at some prices, what capacities are worth left aside.
        price: What a byte of each capacity is worth.
        least_bytes: What every placement takes of each capacity at least.
    """

    fastest_s: float
    priced_s: float
    price: NDArray[np.float64]
    least_bytes: NDArray[np.float64]

    def at(self, capacities: Sequence[float]) -> float:
        """Returns the bound where the problem has some capacities; infinite where these certainly do not suffice."""
        if (self.least_bytes > np.array(capacities) * (1 + 1e-9)).any():
            return math.inf
        priced = self.price > 0
        return max(self.fastest_s, self.priced_s - float(self.price[priced] @ np.array(capacities)[priced]))


def lower_bound(problem: Problem, prices: Prices = NO_PRICES) -> LowerBound:
    """Returns a bound on the objective of all placements of a problem, with moves for free.

    Args:
        problem: The problem.
        prices: Not negative, those of each phase's seconds at most one together (see ``relaxation``); what has no price counts
            nothing.
    """
    choices = [(stage.count, c) for stage in problem.stages for c in stage.block.choices]
    fastest_s = sum(count * float(c.numbers.seconds.sum(axis=1).min()) for count, c in choices)
    least_bytes = np.zeros(len(problem.capacities))
    for count, choice in choices:
        kept = choice.numbers.memory.min(axis=0)
        least_bytes[: len(kept)] += count * kept
    price = prices_of(problem, prices)
    own = price[len(price) - len(problem.capacities) :]
    if not price.any():
        return LowerBound(fastest_s, 0.0, own, least_bytes)
    cheapest = (count * float((variant_vectors(problem, c) @ price).min()) for count, c in choices)
    return LowerBound(fastest_s, sum(cheapest), own, least_bytes)


def _names(problem: Problem) -> list[tuple[str, str]]:
    """Returns a name for each component of a cost vector; sums behind the tiers' bytes have none that others know."""
    further = range(len(problem.capacities) - len(problem.tiers))
    return [
        *(("chain", phase) for phase in problem.phases),
        *((name, problem.phases[phase]) for name, phase in problem.resources),
        *map(capacity_name, problem.tiers),
        *((f"further {number}", "") for number in further),
    ]
