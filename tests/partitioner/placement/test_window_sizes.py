"""Sizes of windows of newest tokens: whole pages, few, and fine where host memory is full or host and drives are even."""

import numpy as np
import pytest

from partitioner.placement.units import common_step, usual_step
from partitioner.placement.window_sizes import COARSE, PARTS, window_sizes

LONGEST = 6400
"""Tokens of the longest context: a part has 100."""


def sizes(room: float = 0.0, even: float = 0.0, page: int = 1) -> tuple[int, ...]:
    return window_sizes(LONGEST, page, room, lambda size: size % 200 == 0, lambda size: size >= even)


def test_coarse_sizes_are_those_asked_for() -> None:
    assert set(sizes()) == {100, *(100 * part for part in COARSE)}
    assert window_sizes(LONGEST, 1, 0.0, lambda size: size > 2000, lambda size: True)[:3] == (100, 2400, 3200)


@pytest.mark.parametrize("room", [150.0, 2050.0, 3799.0])
def test_sizes_of_a_part_enclose_what_fills_host_memory(room: float) -> None:
    found = sizes(room=room)
    below, above = max(s for s in found if s <= room), min(s for s in found if s > room)
    assert above - below == LONGEST // PARTS


@pytest.mark.parametrize("even", [101, 2050, 3801, 6299])
def test_sizes_of_a_part_enclose_where_host_and_drives_are_even(even: int) -> None:
    found = sizes(even=even)
    below, above = max(s for s in found if s < even), min(s for s in found if s >= even)
    assert above - below == LONGEST // PARTS


def test_sizes_are_whole_pages_and_none_is_offered_twice() -> None:
    found = sizes(room=2050.0, even=4000, page=32)
    assert found == tuple(sorted(set(found)))
    assert found
    assert all(size > 0 and size % 32 == 0 for size in found)
    assert set(sizes(page=LONGEST // 2)) == {LONGEST // 2}
    assert window_sizes(16, 32, 8.0, bool, bool) == ()


def test_nothing_is_asked_about_no_window_at_all() -> None:
    asked: list[int] = []

    def longer(size: int) -> bool:
        asked.append(size)
        return False

    window_sizes(1024, 32, 1e9, bool, longer)
    assert asked
    assert min(asked) >= 32


def test_windows_are_counted_in_units_of_the_shares_that_many_variants_have() -> None:
    shares, windows = np.repeat(64.0 * np.arange(9), 3), np.array([37.0, 100.0, 100.0])
    assert usual_step(np.concatenate([shares, windows])) == 64
    assert common_step(np.concatenate([shares, windows])) == 1
    assert usual_step(np.array([24.0, 36.0])) == 12
