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


def times(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the product of [... n] with [n]."""
    return np.einsum("...j,j->...", matrix, vector)


def product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the product of [m k] with [k n]."""
    width = max(1, AT_ONCE // max(1, first.size))
    parts = [first @ second[:, begin : begin + width] for begin in range(0, second.shape[1], width)]
    return np.hstack(parts) if parts else np.zeros((len(first), 0))
