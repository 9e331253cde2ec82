"""What a plan takes beyond tracing is told against the traces beside it."""

import pytest

from benchmarks.placement import behind_tracing, shown


def test_a_plan_is_compared_with_the_traces_before_and_after_it() -> None:
    rest_s, ratios = behind_tracing([1.0, 1.0, 3.0], [1.5, 3.0])
    assert rest_s == [0.5, 1.0]
    assert ratios == [0.5, 0.5]


def test_every_plan_stands_between_two_traces() -> None:
    with pytest.raises(ValueError, match="zip"):
        behind_tracing([1.0, 1.0], [1.5, 1.5])


def test_median_and_range_are_shown() -> None:
    assert shown([0.5, 0.4, 0.9], "x") == "0.50x (0.40 to 0.90)"
