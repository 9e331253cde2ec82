"""Capacities as rows of an integer program, kept clear of the solver's tolerance.

A row may be broken by 1e-6, and a whole number be off by as much. On a large tier, bytes are smaller than that relative to the
capacity, and sums near its edge are taken for what they are not. So a capacity's row is rounded down in steps well above the
tolerance, which rules out no placement; and once a placement has exceeded the capacity by less than the steps can tell, the
amounts are added up in three digits with carries, as one does by hand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROW_SCALE, STEPS = 2.0**13, 2.0**11
DIGIT = 2.0**16
"""Times the tolerance this is well below one, so that the digits of whole numbers are told apart."""


def capacity_rows(
    amounts: NDArray[np.float64], limits: NDArray[np.float64], exact: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns rows, their part for whole numbers of carries that are not negative, and the most they may add up to.

    Args:
        amounts: [limits, variables] what each takes.
        limits: What there is.
        exact: Which limits are to be kept beyond the tolerance.
    """
    unit = np.exp2(np.floor(np.log2(np.where(limits > 0, limits, 1.0))))[:, None]
    shares = np.hstack([np.minimum(amounts / unit, 4.0), np.maximum(limits[:, None] / unit, -1.0)])
    rows = [np.floor(shares * (ROW_SCALE * STEPS)) / STEPS]
    carries = [np.zeros((len(limits), 2 * int(exact.sum())))]
    for number, digits in enumerate(shares[exact]):
        high, rest = np.divmod(digits * DIGIT, 1.0)
        middle, rest = np.divmod(rest * DIGIT, 1.0)
        rows.append(np.stack([high, middle, rest * DIGIT]))
        carries.append(np.zeros((3, carries[0].shape[1])))
        carries[-1][:, 2 * number : 2 * number + 2] = [[1.0, 0.0], [-DIGIT, 1.0], [0.0, -DIGIT]]
    together = np.concatenate(rows)
    return together[:, :-1], np.concatenate(carries), together[:, -1]
