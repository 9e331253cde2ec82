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
"""Kinds are counted in units where at least so many of one choice differ in memory."""
MAX_EXACT = 2.0**52


def unit_rows(
    kinds: Kinds,
    hard: NDArray[np.int64],
    amounts: NDArray[np.float64],
    sizes: NDArray[np.float64],
    present: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns units of each kind [limits K], the rows' sizes [rows K] without them, and the sizes of units [rows limits].

    Args:
        kinds: All kinds.
        hard: Components with limits.
        amounts: [limits K] bytes of each kind.
        sizes: [rows K] rows of the limits in the program's scale, the plain row of each limit first.
        present: The kinds that occur.
    """
    units, unit_size = np.zeros(amounts.shape), np.zeros((len(sizes), len(hard)))
    rest = sizes.copy()
    occurs = np.zeros(amounts.shape[1], bool)
    occurs[present] = True
    for row in range(len(hard)):
        for own in _families(kinds):
            counted = own[occurs[own]]
            values = np.unique(amounts[row, counted])
            if len(values) < MANY or values[-1] >= MAX_EXACT or (values != np.floor(values)).any():
                continue
            step = math.gcd(*(int(v) for v in values))
            if not step or values[-1] / step > 1e5:
                continue
            number = amounts[row, counted] / step
            if units[row].any():
                continue
            units[row, counted] = number
            scale = float((sizes[row, counted] / np.maximum(number, 1.0))[number > 0].min())
            unit_size[row, row] = scale
            rest[row, counted] = np.maximum(0.0, sizes[row, counted] - number * scale)
    return units, rest, unit_size


def _families(kinds: Kinds) -> list[NDArray[np.int64]]:
    """Returns the kinds of each choice that has many."""
    return [found for stage in kinds.of for of in stage if len(found := np.unique(of)) >= MANY]
