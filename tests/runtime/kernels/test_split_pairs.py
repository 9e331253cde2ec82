"""Parts of an attention's work."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.kernels.split_pairs import split_pairs


@given(
    tokens=st.lists(st.one_of(st.integers(0, 40), st.just(7)), max_size=8),
    heads=st.integers(1, 5),
    tokens_per_part=st.integers(1, 50),
    most_parts=st.integers(1, 12),
)
def test_parts_are_even_and_hold_every_pair_once(
    tokens: list[int], heads: int, tokens_per_part: int, most_parts: int
) -> None:
    edges = split_pairs(np.array(tokens, np.int64), heads, tokens_per_part, most_parts)
    total, pairs = sum(tokens) * heads, len(tokens) * heads
    assert (edges[0], edges[-1]) == (0, pairs)
    assert (np.diff(edges) >= 0).all()
    parts = len(edges) - 1
    assert parts == max(1, min(most_parts, pairs, total // tokens_per_part))
    each = np.repeat(np.array(tokens, np.int64), heads)
    for begin, end in pairwise(edges):  # off by one pair at most at either edge
        assert int(each[begin:end].sum()) <= total / parts + 2 * max(tokens, default=0)


def test_equal_sequences_are_cut_in_equal_parts() -> None:
    np.testing.assert_array_equal(split_pairs(np.full(4, 100), 6, 1, 8), np.arange(9) * 3)


def test_little_work_is_one_part() -> None:
    np.testing.assert_array_equal(split_pairs(np.array([10, 10]), 3, 61, 8), [0, 6])
