"""An attention is split over devices by KV heads and rows: all of it, once, evenly."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.shares import Share, even_shares

CASES = st.tuples(st.integers(1, 20), st.integers(1, 24), st.integers(1, 12))


def shares_of(num_devices: int, batch_size: int, num_kv_heads: int) -> tuple[Share, ...]:
    return even_shares(tuple(f"csd{n}" for n in range(num_devices)), batch_size, num_kv_heads)


@given(CASES)
def test_every_row_of_every_head_is_in_one_share(case: tuple[int, int, int]) -> None:
    _, batch_size, num_kv_heads = case
    held = [
        cell
        for share in shares_of(*case)
        for cell in itertools.product(range(*share.rows), range(*share.kv_heads))
    ]
    assert sorted(held) == list(itertools.product(range(batch_size), range(num_kv_heads)))


@given(CASES)
def test_no_device_has_two_shares_or_an_empty_one(case: tuple[int, int, int]) -> None:
    num_devices, batch_size, num_kv_heads = case
    shares = shares_of(*case)
    assert len({s.device for s in shares}) == len(shares) == min(num_devices, len(shares))
    assert all(s.num_rows > 0 and s.num_kv_heads > 0 for s in shares)
    for share in shares:
        assert share.fraction == share.num_rows * share.num_kv_heads / (batch_size * num_kv_heads)
    assert sum(s.fraction for s in shares) == pytest.approx(1, abs=1e-12)


@given(st.integers(1, 12), st.integers(1, 24), st.integers(1, 4))
def test_where_heads_go_round_every_drive_has_whole_heads_of_all_rows(
    num_devices: int, batch_size: int, heads_of_each: int
) -> None:
    shares = shares_of(num_devices, batch_size, num_devices * heads_of_each)
    assert {s.rows for s in shares} == {(0, batch_size)}
    assert [s.num_kv_heads for s in shares] == [heads_of_each] * num_devices


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 24))
def test_where_rows_alone_go_round_every_drive_has_as_much_as_the_others(
    num_devices: int, rows_of_each: int, num_kv_heads: int
) -> None:
    shares = shares_of(num_devices, num_devices * rows_of_each, num_kv_heads)
    assert {s.num_rows * s.num_kv_heads for s in shares} == {rows_of_each * num_kv_heads}


@given(CASES)
def test_the_largest_share_is_no_larger_than_by_heads_or_rows_alone(case: tuple[int, int, int]) -> None:
    num_devices, batch_size, num_kv_heads = case
    largest = max(s.num_rows * s.num_kv_heads for s in shares_of(*case))
    if num_devices <= num_kv_heads:
        assert largest <= -(-num_kv_heads // num_devices) * batch_size
    if num_devices <= batch_size:
        assert largest <= -(-batch_size // num_devices) * num_kv_heads


@pytest.mark.parametrize(
    ("devices", "batch_size", "num_kv_heads", "shares"),
    [
        (1, 4, 8, [((0, 4), (0, 8))]),
        (2, 4, 8, [((0, 4), (0, 4)), ((0, 4), (4, 8))]),
        (3, 4, 8, [((0, 4), (0, 3)), ((0, 4), (3, 6)), ((0, 4), (6, 8))]),
        (4, 4, 2, [((0, 2), (0, 1)), ((0, 2), (1, 2)), ((2, 4), (0, 1)), ((2, 4), (1, 2))]),
        # two drives hold a head each of three rows, the third both heads of the row that is left
        (3, 4, 2, [((0, 3), (0, 1)), ((0, 3), (1, 2)), ((3, 4), (0, 2))]),
        (3, 1, 2, [((0, 1), (0, 1)), ((0, 1), (1, 2))]),
        (5, 2, 1, [((0, 1), (0, 1)), ((1, 2), (0, 1))]),
    ],
)
def test_shares(devices: int, batch_size: int, num_kv_heads: int, shares: list[object]) -> None:
    found = shares_of(devices, batch_size, num_kv_heads)
    assert [(s.rows, s.kv_heads) for s in found] == shares
    assert [s.fraction for s in found] == [
        s.num_rows * s.num_kv_heads / (batch_size * num_kv_heads) for s in found
    ]


def test_a_share_counts_its_rows_and_heads() -> None:
    share = Share("csd1", (2, 6), (1, 4), 0.25)
    assert (share.num_rows, share.num_kv_heads) == (4, 3)
