"""Where the tokens lie that an attention reads."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.kernels.count_tokens import count_tokens


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=5))
def test_tokens_are_counted_where_they_lie(sequences: list[tuple[int, int, int, int]]) -> None:
    given_tokens = [(min(a, b), max(a, b), in_flash, min(c, in_flash)) for a, b, in_flash, c in sequences]
    attended = [token for first, last, _, _ in given_tokens for token in range(first, last)]
    limits = [limit for first, last, *limit in given_tokens for _ in range(first, last)]
    in_flash = [token < flash for token, (flash, _) in zip(attended, limits, strict=True)]
    by_channel = [token < lanes for token, (_, lanes) in zip(attended, limits, strict=True)]
    counted = count_tokens(*np.array(given_tokens, np.int64).reshape(-1, 4).T.copy())
    assert counted == (
        len(attended), len(attended) - sum(in_flash), sum(by_channel), sum(in_flash) - sum(by_channel)
    )  # fmt: skip
