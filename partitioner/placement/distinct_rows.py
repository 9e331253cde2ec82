"""Tells rows of a matrix apart by their bytes, which takes a fraction of the time of sorting them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def row_bytes(rows: NDArray[Any]) -> list[bytes]:
    """Returns the bytes of each row."""
    whole, size = np.ascontiguousarray(rows).tobytes(), rows.shape[1] * rows.itemsize
    return [whole[n * size : (n + 1) * size] for n in range(len(rows))]


def row_numbers(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Returns a number for each row, equal exactly for equal rows, counted from 0 in the order in which they first come."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row, len(numbers)) for row in _told_apart(rows)], np.int64)


def first_rows(rows: NDArray[Any]) -> list[int]:
    """Returns the index of the first of all rows that are equal, in order."""
    first: dict[bytes, int] = {}
    for index, row in enumerate(_told_apart(rows)):
        first.setdefault(row, index)
    return list(first.values())


def _told_apart(rows: NDArray[Any]) -> list[bytes]:
    """Returns bytes that are equal exactly where rows are: zeros have no sign."""
    return row_bytes(rows + 0)
