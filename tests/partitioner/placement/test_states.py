"""Rows of states are told apart in one order, whether by a table or by sorting them."""

import numpy as np
import pytest

from partitioner.placement import states


@pytest.mark.parametrize("dense", [0, 8, 10**9])
def test_rows_are_told_apart(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(dense)
    monkeypatch.setattr(states, "DENSE", dense)
    for size in range(1, 40):
        rows = rng.integers(0, 1 + size % 5, (size, int(rng.integers(0, 4))))
        distinct, number = states._distinct(rows)  # pyright: ignore[reportPrivateUsage]
        assert (distinct[number] == rows).all()
        assert distinct.tolist() == np.unique(rows, axis=0).tolist()
