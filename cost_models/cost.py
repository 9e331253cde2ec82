"""Time and what limits it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from cost_models.errors import CostModelError

Bound = Literal["compute", "memory", "link", "flash", "overhead"]
"""The resource that limits a time."""

BOUNDS: tuple[Bound, ...] = get_args(Bound)


@dataclass(frozen=True)
class Cost:
    """Seconds, and the resource that limits them."""

    seconds: float
    bound: Bound

    def __post_init__(self) -> None:
        if not 0.0 <= self.seconds < math.inf:
            raise CostModelError(f"seconds = {self.seconds!r} is not accepted: expected a finite number >= 0")
        if self.bound not in BOUNDS:
            raise CostModelError(
                f"bound = {self.bound!r} is not accepted: expected one of {', '.join(BOUNDS)}"
            )

    def __mul__(self, count: float) -> "Cost":
        return Cost(self.seconds * count, self.bound)

    __rmul__ = __mul__


def slowest(costs: Iterable[Cost]) -> Cost:
    """Returns the cost of parts that run at the same time: the largest, with its bound (the first of equals).

    Raises:
        CostModelError: There are no parts.
    """
    parts = list(costs)
    if not parts:
        raise CostModelError("slowest of no costs; give at least one")
    return max(parts, key=lambda part: part.seconds)


def with_overhead(seconds: float, bound: Bound, overhead_s: float) -> Cost:
    """Returns the cost of work and of an overhead before or after it: that of both as ``sequential`` parts."""
    return Cost(seconds + overhead_s, bound if seconds >= overhead_s else "overhead")


def sequential(costs: Iterable[Cost]) -> Cost:
    """Returns the cost of parts that run one after another: their sum, with the bound that takes most of it.

    The bounds are compared by the total of their parts, so that many small parts of one bound outweigh one
    larger part of another. No parts cost nothing.
    """
    totals: dict[Bound, float] = {}
    for part in costs:
        totals[part.bound] = totals.get(part.bound, 0.0) + part.seconds
    if not totals:
        return Cost(0.0, "overhead")
    return Cost(math.fsum(totals.values()), max(totals, key=lambda bound: totals[bound]))
