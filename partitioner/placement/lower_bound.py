"""Bounds that need no search and no graph: every op at its fastest, or at the prices that another problem ended with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

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


def lower_bound(problem: Problem, prices: Prices = NO_PRICES) -> float:
    """Returns a bound on the objective of all placements of a problem, with moves for free.

    Args:
        problem: The problem.
        prices: Not negative, those of each phase's seconds at most one together (see ``relaxation``); what has no price counts
            nothing.
    """
    fastest = sum(
        stage.count * sum(min(sum(v.seconds) for v in choice.variants) for choice in stage.block.choices)
        for stage in problem.stages
    )
    price = np.array([prices.get(name, 0.0) for name in _names(problem)])
    if not price.any():
        return fastest
    limits = np.array([0.0] * (len(price) - len(problem.capacities)) + list(problem.capacities))
    priced = price > 0
    cheapest = sum(
        stage.count
        * sum(float((variant_vectors(problem, c.variants) @ price).min()) for c in stage.block.choices)
        for stage in problem.stages
    )
    return max(fastest, cheapest - float(price[priced] @ limits[priced]))


def _names(problem: Problem) -> list[tuple[str, str]]:
    """Returns a name for each component of a cost vector; sums behind the tiers' bytes have none that others know."""
    further = range(len(problem.capacities) - len(problem.tiers))
    return [
        *(("chain", phase) for phase in problem.phases),
        *((name, problem.phases[phase]) for name, phase in problem.resources),
        *map(capacity_name, problem.tiers),
        *((f"further {number}", "") for number in further),
    ]
