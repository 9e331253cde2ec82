"""The rows of capacities, held against adding up."""

from __future__ import annotations

import itertools

import numpy as np

from partitioner.placement.capacity import capacity_rows

COUNTS = np.array(list(itertools.product(range(4), repeat=3)), dtype=float)
"""How often each of three variants is taken."""


def kept(rows: np.ndarray, carries: np.ndarray, right: np.ndarray, counts: np.ndarray) -> bool:
    """Tells whether whole numbers of the carries make counts keep the rows: the least that the lower digits ask for."""
    left, carry = rows @ counts, np.zeros(carries.shape[1])
    for digit in (2, 1):
        if carries.shape[1]:
            column = digit - 1
            missing = left[1 + digit] + carries[1 + digit] @ carry - right[1 + digit]
            carry[column] = max(0.0, np.ceil(missing / -carries[1 + digit, column]))
    return bool((left + carries @ carry <= right).all())


def test_exact_rows_tell_single_bytes_apart() -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(50):
        amounts = np.floor(rng.uniform(1e8, 1e12, 3)) + 1
        wanted = amounts @ COUNTS[rng.integers(1, len(COUNTS))]
        limit = wanted + float(rng.integers(-2, 3))
        rows = capacity_rows(amounts[None], np.array([limit]), np.array([True]))
        for counts in COUNTS:
            assert kept(*rows, counts) == (amounts @ counts <= limit)
            outcomes.add((kept(*rows, counts), abs(amounts @ counts - limit) <= 2))
    assert len(outcomes) == 4


def test_rounded_rows_rule_out_no_placement_that_fits() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        amounts = rng.uniform(0, 1, 3) * 10.0 ** rng.integers(0, 13)
        limit = float(amounts @ COUNTS[rng.integers(1, len(COUNTS))])
        rows = capacity_rows(amounts[None], np.array([limit]), np.array([False]))
        for counts in COUNTS:
            used = float(amounts @ counts)
            assert kept(*rows, counts) or used > limit
            assert not kept(*rows, counts) or used <= limit * (1 + 1e-6)


def test_only_nothing_fits_into_nothing() -> None:
    amounts, nothing = np.array([[0.0, 3.0], [0.0, 1e12]]), np.zeros(2)
    for exact in (False, True):
        rows = capacity_rows(amounts, nothing, np.array([exact, False]))
        assert kept(*rows, np.array([5.0, 0.0]))
        assert (rows[0] @ [0.0, 1.0] > rows[2])[:2].all()


def test_less_than_nothing_cannot_be_kept() -> None:
    rows, _, right = capacity_rows(np.zeros((1, 2)), np.array([-5.0]), np.array([False]))
    assert (rows @ [1.0, 1.0] > right).any()


def test_every_exact_limit_has_carries_of_its_own() -> None:
    rows, carries, right = capacity_rows(np.ones((3, 4)), np.full(3, 8.0), np.array([True, False, True]))
    assert rows.shape == (3 + 2 * 3, 4)
    assert carries.shape == (9, 4)
    assert right.shape == (9,)
    assert not carries[:3].any()
    assert not carries[3:6, 2:].any()
    assert not carries[6:, :2].any()
