import pytest

from runtime.busy import BusyUntil


def test_reservations_queue_up_and_are_counted() -> None:
    link = BusyUntil("link")
    assert link.reserve(1.0, 2.0) == (1.0, 3.0)
    assert link.reserve(0.0, 1.0) == (3.0, 4.0)
    assert link.reserve(10.0, 0.0) == (10.0, 10.0)
    assert (link.busy_s, link.count, link.free_s) == (3.0, 3, 10.0)


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_impossible_durations_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"link: cannot reserve .* give a finite time"):
        BusyUntil("link").reserve(0.0, seconds)
