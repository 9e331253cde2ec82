"""Where the newest tokens are: in the window, or in whole pages that have left it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partitioner.shares import even_shares, with_newest
from partitioner.token_cut import TokenCut


@given(page=st.integers(1, 20), pages=st.integers(1, 9), length=st.integers(1, 500))
def test_both_sides_have_all_tokens_and_the_window_has_room(page: int, pages: int, length: int) -> None:
    older, newest = (TokenCut(side, page * pages, page) for side in ("older", "newest"))
    assert older.attended(length) + newest.attended(length) == length
    assert older.stored(length) + newest.stored(length) == length
    assert 1 <= newest.attended(length) <= newest.room
    assert 0 <= newest.stored(length) < newest.room
    assert older.attended(length) % page == 0
    assert newest.room - page < newest.attended(length) or older.attended(length) == 0


@given(page=st.integers(1, 20), pages=st.integers(1, 9), length=st.integers(2, 500))
def test_tokens_leave_a_page_at_a_time_in_their_order(page: int, pages: int, length: int) -> None:
    cut = TokenCut("older", page * pages, page)
    assert cut.stored(length - 1) == cut.attended(length)
    assert cut.stored(length) == cut.attended(length) + cut.leaving(length)
    assert cut.leaving(length) == (page if length >= cut.room and (length - cut.room) % page == 0 else 0)


@given(page=st.integers(1, 9), pages=st.integers(1, 5), lengths=st.lists(st.integers(1, 90), min_size=1))
def test_many_lengths_are_counted_as_each(page: int, pages: int, lengths: list[int]) -> None:
    for side in ("older", "newest"):
        cut = TokenCut(side, page * pages, page)
        together = np.array(lengths)
        for count in (cut.attended, cut.stored, cut.leaving, cut.departed):
            np.testing.assert_array_equal(count(together), [count(length) for length in lengths])


def test_a_window_has_the_rows_and_heads_of_all_drives() -> None:
    drives = ("csd0", "csd1", "csd2")
    *older, window = with_newest(even_shares(drives, 4, 8), drives, "host", 32, 16)
    assert (window.device, window.rows, window.kv_heads, window.fraction) == ("host", (0, 4), (0, 8), 1.0)
    assert window.cut == TokenCut("newest", 32, 16)
    assert {share.cut for share in older} == {TokenCut("older", 32, 16)}
    assert tuple(share.device for share in older) == drives
