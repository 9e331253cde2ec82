"""How many units of memory the splits of attentions take on a tier: whole numbers of their own in the integer program.

An attention that may be split in hundreds of ways takes a whole number of equal units of each tier's memory. A mixture fills
the last fraction of a unit, and only a decision on the number of units takes that away; so the number is a variable.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.tally import Kinds

MANY = 12
"""Variants are counted in units where at least so many of one choice differ in memory."""
MAX_EXACT = 2.0**52
MOST_STEPS = 1e5
"""Amounts of more steps are not counted in these."""
RARE = 2
"""What at most so many variants take is left aside where usual steps are looked for: windows of newest tokens have any size."""


def unit_rows(
    families: list[NDArray[np.int64]], amounts: NDArray[np.float64], sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns units of each column [limits C], the rows' sizes [rows C] without them, and the sizes of units [rows limits].

    Args:
        families: The columns that stand for the variants of one choice, or of alike ones.
        amounts: [limits C] bytes of each column.
        sizes: [rows C] rows of the limits in the program's scale, the plain row of each limit first.
    """
    units, unit_size = np.zeros(amounts.shape), np.zeros((len(sizes), len(amounts)))
    rest = sizes.copy()
    for row in range(len(amounts)):
        for counted in families:
            step = common_step(amounts[row, counted])
            if not step or len(np.unique(amounts[row, counted])) < MANY:
                continue
            number = amounts[row, counted] / step
            if units[row].any():
                continue
            units[row, counted] = number
            scale = float((sizes[row, counted] / np.maximum(number, 1.0))[number > 0].min())
            unit_size[row, row] = scale
            rest[row, counted] = np.maximum(0.0, sizes[row, counted] - number * scale)
    return units, rest, unit_size


def usual_step(amounts: NDArray[np.float64]) -> int:
    """Returns the largest number of bytes of which all amounts that many variants take are multiples, or 0 as below."""
    present, times = np.unique(amounts, return_counts=True)
    return common_step(present[times > RARE]) or common_step(amounts)


def common_step(amounts: NDArray[np.float64]) -> int:
    """Returns the largest number of bytes of which all amounts are multiples, or 0 where they are hardly multiples of any."""
    largest = float(amounts.max(initial=0.0))
    if largest >= MAX_EXACT or (amounts != np.floor(amounts)).any():
        return 0
    step = math.gcd(*np.unique(amounts).astype(np.int64).tolist())
    return step if step and largest / step <= MOST_STEPS else 0


def families(kinds: Kinds) -> list[NDArray[np.int64]]:
    """Returns the kinds of each choice that has many."""
    return [found for stage in kinds.of for of in stage if len(found := np.unique(of)) >= MANY]
