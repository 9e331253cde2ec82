"""Products of small matrices on the thread that asks for them.

OpenBLAS spreads a product with a vector over all cores from 9,216 numbers on, and one of matrices from 262,144 multiplications
on (its interface/gemv.c and interface/gemm.c). The threads then wait for each other, busily: where others are at work on the
machine a product of microseconds takes a tenth of a second, and everywhere it takes the processor's time of all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 200_000
"""Multiplications of one product of matrices."""
WIDTH = 64
"""Columns of one product of matrices that are cut along both sides."""


def times(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the product of [... n] with [n]."""
    return np.einsum("...j,j->...", matrix, vector)


def product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the product of [m k] with [k n]."""
    num_rows, num_columns = len(first), second.shape[1]
    height, width = num_rows, AT_ONCE // max(1, first.size)
    if width < 2:  # column by column these would be products with vectors, which are spread earlier
        height, width = max(2, AT_ONCE // (WIDTH * first.shape[1])), WIDTH
    found = np.empty((num_rows, num_columns))
    for row in range(0, num_rows, max(1, height)):
        for column in range(0, num_columns, width):
            own = slice(row, row + height), slice(column, column + width)
            found[own] = first[own[0]] @ second[:, own[1]]
    return found
