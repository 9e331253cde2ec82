"""Rows told apart by their bytes are told apart as by their numbers."""

import numpy as np
import pytest

from partitioner.placement.distinct_rows import first_rows, row_numbers


@pytest.mark.parametrize("dtype", [np.float64, np.int16])
def test_rows_are_numbered_as_sorting_tells_them_apart(dtype: type) -> None:
    rows = np.random.default_rng(0).integers(-1, 2, (200, 3)).astype(dtype)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    numbers = row_numbers(rows)
    assert first_rows(rows) == sorted(first.tolist())
    assert (rows[first_rows(rows)][numbers] == rows).all()
    assert (
        (numbers[:, None] == numbers[None, :]) == (inverse.ravel()[:, None] == inverse.ravel()[None, :])
    ).all()


def test_zeros_have_no_sign() -> None:
    assert row_numbers(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0]])).tolist() == [0, 0, 1]


def test_rows_without_numbers_are_equal() -> None:
    assert row_numbers(np.zeros((3, 0))).tolist() == [0, 0, 0]
    assert first_rows(np.zeros((0, 2))) == []
