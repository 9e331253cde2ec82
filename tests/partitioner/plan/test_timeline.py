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


class TestOverlap:
    """Seconds in which two kinds of devices are in use at once."""

    GPU, DRIVE = Event("gpu0", "a", "decode", 0.0, 2.0), Event("csd0", "b", "decode", 1.0, 4.0)

    def test_of_a_single_step(self) -> None:
        assert Timeline((self.GPU, self.DRIVE)).overlap_s("gpu", "csd") == 1.0
        assert Timeline((self.GPU, self.DRIVE)).overlap_s("gpu", "csd", "prefill") == 0.0

    def test_devices_of_a_kind_count_together(self) -> None:
        second = Event("csd1", "b", "decode", 0.0, 1.5)
        assert Timeline((self.GPU, self.DRIVE, second)).overlap_s("gpu", "csd") == 2.0

    def test_the_end_of_one_step_is_beside_the_beginning_of_the_next(self) -> None:
        """The drive is busy from 1 s to 3 s and, with the step before, from 0 s to 1 s."""
        assert Timeline((self.GPU, self.DRIVE), period_s=3.0).overlap_s("gpu", "csd") == 2.0

    def test_a_step_later_is_the_same_step(self) -> None:
        later = Event("csd0", "b", "decode", 7.0, 10.0)
        assert Timeline((self.GPU, later), period_s=3.0).overlap_s("gpu", "csd") == 2.0

    def test_more_than_a_period_is_all_of_it(self) -> None:
        assert Timeline((self.GPU, self.DRIVE), period_s=2.5).overlap_s("gpu", "csd") == 2.0
