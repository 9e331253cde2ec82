"""What boundary variables add to the program, and the ones of sparse matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.folded import Boundaries, Folded


def boundaries(folded: Folded) -> Boundaries:
    """Returns the boundary variables of a problem."""
    return folded.boundaries


def incidence(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """Returns the matrix with a one at each (row, column)."""
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
