"""The bars of the fidelity benchmark: each is missed by what is just too far off."""

import pytest

from benchmarks.fidelity.bars import Held, missed_bars


def held(measured_s: float, expected_s: float = 0.1, repeats: int = 9, **changes: float) -> Held:
    return Held("write", (expected_s,) * repeats, (measured_s,) * repeats, **changes)


def test_what_is_close_enough_passes() -> None:
    assert missed_bars([held(0.1019), held(0.0981), held(0.1049, tolerance=0.05)]) == []


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (held(0.1021), r"write takes \+2.1% more than it should; the bar is 2%"),
        (held(0.0979), r"write takes -2.1% more than it should; the bar is 2%"),
        (held(0.1051, tolerance=0.05), r"write takes \+5.1% more than it should; the bar is 5%"),
        (held(0.1, repeats=8), "write was repeated 8 times; the bar asks for 9"),
        (held(0.029, expected_s=0.029), "write should take 29.0 ms; the bar asks for at least 30 ms"),
    ],
)
def test_what_is_too_far_off_is_said(missing: Held, message: str) -> None:
    (sentence,) = missed_bars([held(0.1), missing])
    assert sentence == message.replace("\\", "")


def test_the_median_of_the_repeats_counts() -> None:
    """Ratios of each repeat, so that commands of different lengths may be mixed."""
    mixed = Held("write", (0.1, 0.2, 0.4) * 3, (0.101, 0.5, 0.404) * 3)
    assert mixed.error == pytest.approx(0.01)
    assert missed_bars([mixed]) == []
