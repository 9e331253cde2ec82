"""Timelines: what is summed up, and over what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.plan.timeline import Event, Timeline

TIMELINE = Timeline(
    (
        Event("gpu0", "a", "prefill", 0.0, 2.0),
        Event("csd0.up", "kv", "decode", 2.0, 5.0, 300.0),
        Event("csd0.up", "kv", "decode", 4.0, 6.0, 100.0),
        Event("gpu0", "b", "decode", 6.0, 7.0),
    )
)


def test_a_timeline_ends_with_its_last_event() -> None:
    assert TIMELINE.end_s == 7.0
    assert Timeline(TIMELINE.events[:1]).end_s == 2.0


def test_nothing_takes_no_time() -> None:
    nothing = Timeline(())
    assert (nothing.end_s, nothing.busy_s(), nothing.moved_bytes()) == (0.0, {}, {})


def test_uses_of_one_resource_that_overlap_count_once() -> None:
    assert TIMELINE.busy_s() == {"gpu0": 3.0, "csd0.up": 4.0}


def test_bytes_add_up() -> None:
    assert TIMELINE.moved_bytes() == {"gpu0": 0.0, "csd0.up": 400.0}


def test_sums_of_one_phase() -> None:
    assert TIMELINE.busy_s("prefill") == {"gpu0": 2.0}
    assert TIMELINE.busy_s("decode") == {"csd0.up": 4.0, "gpu0": 1.0}
    assert TIMELINE.moved_bytes("decode") == {"csd0.up": 400.0, "gpu0": 0.0}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1))
def test_busy_time_is_the_time_in_which_something_runs(spans: list[tuple[int, int]]) -> None:
    events = tuple(Event("gpu0", "op", "decode", a, a + length) for a, length in spans)
    moments = {t for a, length in spans for t in range(a, a + length)}
    assert Timeline(events).busy_s()["gpu0"] == pytest.approx(len(moments))
